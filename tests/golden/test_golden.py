"""This version reads the bundles of every earlier one and gives exactly the integers that they had."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.npz import read_npz
from qdeploy.runtime.ops import OPERATORS, RECURRENT, operator_name
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.runtime.standard import BodyModel
from qdeploy.verify.instrument import has_operators, show

BUNDLES = Path(__file__).parent / "bundles"
NAMES = sorted(path.stem for path in BUNDLES.glob("*.zip"))
Tensors = Mapping[str, NDArray[Any]]


def stored(name: str) -> tuple[BundleFiles, dict[str, tuple[Tensors, Tensors]]]:
    """A golden bundle, and its cases: inputs and every integer."""
    cases: dict[str, tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = {}
    path = BUNDLES / f"{name}.npz"
    for key, array in read_npz(path.read_bytes(), str(path)).items():
        case, kind, tensor = key.split("/", 2)
        cases.setdefault(case, ({}, {}))[kind == "tensor"][tensor] = array
    return read_bundle(BUNDLES / f"{name}.zip"), dict(cases)


def compare(found: Tensors, expected: Tensors, where: str) -> None:
    """Values, types and shapes are those of ``expected``."""
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), f"{where}: {name}"
        assert np.array_equal(found[name], array), f"{where}: {name}"


@pytest.mark.parametrize("name", NAMES)
def test_every_runtime_gives_the_stored_integers(name: str) -> None:
    """All outputs by the file as it is; all tensors and all steps by the copy that shows them."""
    files, cases = stored(name)
    shown = show(files.model)
    outputs = [value.name for value in files.model.graph.output]
    layered = has_operators(files.model)
    engines: dict[str, Any] = {
        "bodies": BodyModel(shown),
        "onnxruntime": open_engine("onnxruntime", shown),
        "onnxruntime, plain": open_engine("onnxruntime", shown, optimize=False),
        **({"numpy": open_engine("numpy", shown)} if layered else {}),
    }
    shipped: dict[str, Any] = {
        "bodies, file": open_engine("bodies", files.model),
        "onnxruntime, file": open_engine("onnxruntime", files.model),
        **({"numpy, file": open_engine("numpy", files.model)} if layered else {}),
    }
    assert {"samples", "random", "whole-range", "low", "high", "alternating"} == set(cases)
    for case, (inputs, tensors) in cases.items():
        assert set(outputs) <= set(tensors)
        for engine, opened in engines.items():
            compare(opened.run(inputs), tensors, f"{name}, {case}, {engine}")
        for engine, opened in shipped.items():
            compare(opened.run(inputs), {key: tensors[key] for key in outputs}, f"{name}, {case}, {engine}")


def all_states(node: onnx.NodeProto) -> str:
    """The name of all steps of a recurrent node's states in the copy that shows them."""
    recurrent = node.domain == "qdeploy" and operator_name(node.op_type) in RECURRENT
    return (node.output[0] or f"{node.name}_all_states") if recurrent else ""


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("rnn-", "gru-", "ligru-", "fast-"))])
def test_step_by_step_the_states_are_the_stored_ones(name: str) -> None:
    """One call a step: the state that the file as it is hands on is that of every step."""
    files, cases = stored(name)
    (state,) = files.manifest.states
    inputs, tensors = cases["whole-range"]
    steps = next((tensors[key] for node in files.model.graph.node if (key := all_states(node)) in tensors), None)
    assert (steps is None) == (not has_operators(files.model))
    engine = open_engine("onnxruntime", files.model)
    x, held = inputs["x"], inputs[state.input]
    for step in range(len(x)):
        found = engine.run({"x": x[step : step + 1], state.input: held})
        held = found[state.output]
        if steps is not None and held.dtype != np.float32:
            assert np.array_equal(held, steps[step]), step
    assert np.array_equal(held, tensors[state.output])


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("lstm-")])
def test_step_by_step_the_states_of_an_lstm_are_the_stored_ones(name: str) -> None:
    """One call a step: hidden states as of every step, and hidden and cell states after the last one."""
    files, cases = stored(name)
    inputs, tensors = cases["whole-range"]
    engine = open_engine("onnxruntime", files.model)
    every = {
        node.output[1]: tensors[all_states(node)]
        for node in files.model.graph.node
        if operator_name(node.op_type) == "LSTM"
    }
    held = {state.input: inputs[state.input] for state in files.manifest.states}
    assert len(held) == 2 * len(every) > 0
    for step in range(len(inputs["x"])):
        found = engine.run({"x": inputs["x"][step : step + 1], **held})
        held = {state.input: found[state.output] for state in files.manifest.states}
        for name_out, states in every.items():
            if name_out in found and found[name_out].dtype != np.float32:
                assert np.array_equal(found[name_out], states[step]), (name_out, step)
    for state in files.manifest.states:
        assert np.array_equal(held[state.input], tensors[state.output]), state.output


@pytest.mark.parametrize("name", NAMES)
def test_the_bundles_own_vectors_are_among_the_cases(name: str) -> None:
    files, cases = stored(name)
    for case, vector in files.vectors().items():
        inputs, tensors = cases[case]
        compare(inputs, vector.inputs, name)
        compare(tensors, vector.outputs, name)


def test_no_golden_file_was_ever_changed() -> None:
    lines = (BUNDLES / "SHA256SUMS").read_text().splitlines()
    written = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert len(written) == len(lines)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in BUNDLES.glob("*.[zn]*")}
    assert found == written


def models() -> list[tuple[str, onnx.ModelProto]]:
    return [(name, read_bundle(BUNDLES / f"{name}.zip").model) for name in NAMES]


def test_every_operator_has_a_golden_bundle() -> None:
    """A new operator needs a new bundle; see README.md."""
    found = {
        operator_name(node.op_type) for _, model in models() for node in model.graph.node if node.domain == "qdeploy"
    }
    assert found == set(OPERATORS)


def test_every_arrangement_of_the_loop_has_one() -> None:
    """By the names of the bodies in the files: product, activation, finish."""
    words = {
        word.rstrip("0123456789")
        for _, model in models()
        for node in model.graph.node
        if operator_name(node.op_type) == "RNN"
        for word in re.sub(r"(digits\d+|direct|rows)(u8|s8)|(hadamard)\d+x\d+", r"\1\3_", node.op_type)
        .replace("gather", "gather_")
        .split("_")
    }
    assert {"direct", "digits", "rows", "hadamard", "gather", "divide", "multiply"} <= words
    assert {"relu", "modrelu", "linear", "table", "all", "last", "shifted", "requantized"} <= words


def test_the_golden_integers_say_something() -> None:
    """A case of nothing but zeros, or a state that never moves, would agree with anything."""
    for name in NAMES:
        tensors = stored(name)[1]["whole-range"][1]
        assert max(len(np.unique(array)) for array in tensors.values()) > 8, name


def test_a_changed_integer_is_seen() -> None:
    files, cases = stored("rnn-relu-state12")
    inputs, tensors = cases["samples"]
    found = ReferenceModel(files.model).run(inputs).outputs
    altered = {name: array.copy() for name, array in found.items()}
    altered["y"].flat[0] += 1
    with pytest.raises(AssertionError, match="y"):
        compare(altered, {"y": tensors["y"]}, "altered")
