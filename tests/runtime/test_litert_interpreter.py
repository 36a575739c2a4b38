"""The interpreter from bytes: what a machine without onnx needs of qdeploy, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError, UnsupportedModelError
from qdeploy.runtime.litert_interpreter import Border, LitertInterpreter, version
from qdeploy.tflite_file import trusted_tflite

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "lstm-state8.zip"
FILES = read_bundle(BUNDLE)
BORDER = Border.of(FILES.manifest)

# What a board with 32 bits has no wheel of, or no use for.
ABSENT = ("onnx", "flatbuffers", "onnxruntime", "torch", "google")
ALONE = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None
from qdeploy.runtime.litert_interpreter import LitertInterpreter
from qdeploy.boards.frames import receive
print("imported")
"""


def test_it_needs_neither_onnx_nor_the_writer_of_files() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert done.stdout == "imported\n", done.stderr


def test_the_border_goes_to_another_machine_as_plain_values() -> None:
    assert Border(**BORDER.to_dict()) == BORDER
    states = [spec.input for spec in FILES.manifest.states]
    assert states
    assert set(states) < set(BORDER.dtypes)
    assert BORDER.input_axes.keys() == BORDER.dtypes.keys()


@pytest.mark.litert
def test_bytes_and_border_give_the_reference_s_bits() -> None:
    interpreter = LitertInterpreter(trusted_tflite(FILES), BORDER, resolver="reference")
    for vector in FILES.vectors().values():
        feeds = dict(vector.inputs)
        batch = feeds["x"].shape[FILES.manifest.inputs[0].shape.index("batch")]
        for spec in FILES.manifest.states:
            shape = [batch if size == "batch" else int(size) for size in spec.shape]
            feeds.setdefault(spec.input, np.full(shape, spec.zero_point, spec.dtype))
        found = interpreter.run(feeds)
        assert found.keys() == BORDER.output_axes.keys()
        for name, array in vector.outputs.items():
            assert found[name].dtype == array.dtype
            assert (found[name] == array).all(), name


@pytest.mark.litert
def test_what_is_no_model_is_refused_by_the_runtime() -> None:
    with pytest.raises(UnsupportedModelError, match=r"cannot load model\.tflite"):
        LitertInterpreter(b"no identifier of such a file", BORDER)


def test_another_resolver_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidInputError, match="expected one of default, plain, reference"):
        LitertInterpreter(b"", BORDER, resolver="fastest")


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(
        MissingRequirementError, match=r"litert-of-tomorrow is not installed.*pip install 'qdeploy\[litert\]'"
    ):
        version("litert-of-tomorrow")
