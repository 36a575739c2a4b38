"""Generated C against the reference: every golden bundle whose operators C has, every output and state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdeploy.export.c import c_files
from qdeploy.export.c.emitter import emitters
from qdeploy.export.onnx.integer_only import BORDERS
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.ops import DOMAIN, WEIGHT_OPERATORS, operator_name
from qdeploy.runtime.reference import STANDARD, ReferenceModel

from .running import Library, golden, single

BUNDLES = sorted(path.stem for path in (Path(__file__).parents[2] / "golden" / "bundles").glob("*.zip"))


def has_a_form(name: str) -> bool:
    """Whether a bundle's integers reach its borders, and all its nodes are operators that can be written in C."""
    nodes = golden(name).model.graph.node
    operators = {operator_name(node.op_type) for node in nodes if node.domain == DOMAIN}
    standard = {node.op_type for node in nodes if node.domain != DOMAIN}
    # Flat files have other standard operators than those that move data.
    return operators <= {*emitters(), *WEIGHT_OPERATORS} and standard <= STANDARD.keys() - BORDERS


@pytest.mark.parametrize("name", [name for name in BUNDLES if has_a_form(name)])
def test_every_golden_bundle_gives_the_references_bits(name: str, tmp_path: Path) -> None:
    files = golden(name)
    library, reference = Library(files, tmp_path, flags=("-O0",)), ReferenceModel(files.model)
    manifest = files.manifest
    compared = 0
    for vector in files.vectors().values():
        batch = next(
            (vector.inputs[s.name].shape[s.batch_axis] for s in manifest.inputs if s.batch_axis is not None), 1
        )
        for sample in range(min(batch, 2)):
            feeds = {s.name: single(vector.inputs[s.name], s.batch_axis, sample) for s in manifest.inputs}
            for state in manifest.states:
                axis = state.shape.index("batch") if "batch" in state.shape else None
                shape = [1 if isinstance(d, str) else d for d in state.shape]
                given = vector.inputs.get(state.input)
                feeds[state.input] = (
                    np.full(shape, state.zero_point, state.dtype) if given is None else single(given, axis, sample)
                )
            wanted, found = reference.run(feeds).outputs, library.run(feeds)
            for key, array in wanted.items():
                assert (found[key].reshape(-1) == array.reshape(-1)).all(), f"{key} of sample {sample}, {vector.name}"
                compared += array.size
    assert compared > 0


def test_a_flat_file_is_refused() -> None:
    files = golden("rnn-relu-inline")
    with pytest.raises(UnsupportedModelError, match="Export without --inline"):
        c_files(files.model, files.manifest)


def test_an_unknown_target_is_refused() -> None:
    files = golden("rnn-relu-state12")
    with pytest.raises(InvalidInputError, match="pi9"):
        c_files(files.model, files.manifest, "pi9")
