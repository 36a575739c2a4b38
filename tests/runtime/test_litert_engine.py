"""The engine "litert": batches, wrong feeds, and files that are not what their model gives."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.engines import DEFAULTS, available, open_engine
from qdeploy.runtime.engines.litert import LitertEngine
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingRequirementError

pytestmark = pytest.mark.litert

FILES = read_bundle(Path(__file__).parents[1] / "golden" / "bundles" / "mlp.zip")


def feeds() -> dict[str, np.ndarray]:
    """The golden vector's inputs."""
    return dict(next(iter(FILES.vectors().values())).inputs)


def test_a_batch_gives_the_bits_of_its_samples() -> None:
    engine = open_engine("litert", FILES)
    (name,), (output,) = [spec.name for spec in FILES.manifest.inputs], [spec.name for spec in FILES.manifest.outputs]
    x = np.repeat(feeds()[name][:1], 3, axis=0)
    x[1] ^= 85
    whole = engine.run({name: x})[output]
    assert len(whole) == 3
    assert (whole[0] == whole[2]).all()
    for sample in range(3):
        assert (engine.run({name: x[sample : sample + 1]})[output][0] == whole[sample]).all()


@pytest.mark.parametrize("wrong", [{}, {"other": np.zeros((1, 4), np.uint8)}])
def test_other_inputs_are_named(wrong: dict[str, np.ndarray]) -> None:
    with pytest.raises(InvalidInputError, match="the model's inputs are"):
        open_engine("litert", FILES).run(wrong)


def test_another_type_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected uint8"):
        open_engine("litert", FILES).run({name: array.astype(np.int32) for name, array in feeds().items()})


def test_an_unknown_resolver_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected one of default, plain, reference"):
        LitertEngine(FILES, resolver="fastest")


def test_a_file_that_the_model_does_not_give_is_never_run() -> None:
    altered = dataclasses.replace(FILES, contents={**FILES.contents, "model.tflite": b"TFL3"})
    with pytest.raises(InvalidFileError, match="nothing of it was run"):
        open_engine("litert", altered)


def test_it_runs_only_where_it_is_named() -> None:
    assert "litert" not in DEFAULTS
    assert "litert" in available()


def test_without_the_writer_s_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdeploy.export.tflite.generator", None)
    with pytest.raises(MissingRequirementError, match=r"pip install 'qdeploy\[litert\]'"):
        open_engine("litert", FILES)
