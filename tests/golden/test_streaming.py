"""Streaming, driven by the golden bundles: a new recurrent operator is tested by its bundle's being there.

However a sequence is cut into calls the bits are the same, a batch gives the bits of its sequences alone, and a state that was
written to a file and read back is the same state.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.ops import RECURRENT, operator_name
from qdeploy.runtime.session import Session

from .test_golden import BUNDLES, NAMES, stored

Arrays = dict[str, NDArray[Any]]
RUNTIMES = ("numpy", "onnxruntime")


def recurrent_operators(model: onnx.ModelProto) -> set[str]:
    """Which operators with a state a file holds."""
    return {operator_name(node.op_type) for node in model.graph.node if node.domain == "qdeploy"} & set(RECURRENT)


def chosen() -> dict[str, list[str]]:
    """For every recurrent operator three golden bundles of the streams that it has: the first, the middle and the last."""
    found: dict[str, list[str]] = {name: [] for name in RECURRENT}
    for name in NAMES:
        files = read_bundle(BUNDLES / f"{name}.zip")
        streams = all("time" in spec.shape for spec in files.manifest.inputs) and not files.manifest.whole_sequences
        for operator in recurrent_operators(files.model) if streams and files.manifest.states else ():
            found[operator].append(name)
    return {
        operator: list(dict.fromkeys(names[place] for place in (0, len(names) // 2, -1))) if names else []
        for operator, names in found.items()
    }


CHOSEN = chosen()
CASES = [pytest.param(name, id=f"{operator}-{name}") for operator, names in CHOSEN.items() for name in names]


def test_every_recurrent_operator_streams_in_a_golden_bundle() -> None:
    """Without one, nothing below would look at the operator."""
    missing = [operator for operator, names in CHOSEN.items() if not names]
    assert not missing, f"no golden bundle whose steps are free has {', '.join(missing)}; see tests/golden/README.md"


def sequence(files: BundleFiles, name: str) -> tuple[Arrays, Arrays]:
    """The inputs of the case over the whole range, and its initial states, none of which is zero."""
    inputs = stored(name)[1]["whole-range"][0]
    states = {state.input for state in files.manifest.states}
    return {k: v for k, v in inputs.items() if k not in states}, {k: v for k, v in inputs.items() if k in states}


def part(files: BundleFiles, inputs: Arrays, symbol: str, start: int, stop: int) -> Arrays:
    """Steps or samples ``start`` to ``stop``."""
    return {
        spec.name: np.take(inputs[spec.name], np.arange(start, stop), spec.shape.index(symbol))
        for spec in files.manifest.inputs
    }


def size(files: BundleFiles, inputs: Arrays, symbol: str) -> int:
    spec = files.manifest.inputs[0]
    return int(inputs[spec.name].shape[spec.shape.index(symbol)])


def started(files: BundleFiles, runtime: str, states: Arrays) -> Session:
    session = Session(files, runtime=runtime, raw=True)
    session.state = states
    return session


def joined(files: BundleFiles, pieces: list[Arrays], symbol: str) -> Arrays:
    """The outputs of several calls as one call gives them; one of whole sequences is of one call alone."""
    found: Arrays = {}
    for output in files.manifest.outputs:
        arrays = [piece[output.name] for piece in pieces]
        if symbol in output.shape:
            found[output.name] = np.concatenate(arrays, output.shape.index(symbol))
        elif not output.extra.get("whole_sequence"):
            found[output.name] = arrays[-1]
    return found


def same(found: Arrays, expected: Arrays) -> None:
    for name, array in found.items():
        assert array.dtype == expected[name].dtype, name
        assert np.array_equal(array, expected[name]), name


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", CASES)
def test_any_cut_gives_the_bits_of_one_call(name: str, runtime: str) -> None:
    """One call of N steps, N calls of one, and random splits: outputs and states."""
    files = read_bundle(BUNDLES / f"{name}.zip")
    inputs, states = sequence(files, name)
    whole = started(files, runtime, states)
    expected = whole.run(inputs)
    steps = size(files, inputs, "time")
    generator = np.random.default_rng(len(name))
    splits = [range(1, steps)] + [sorted(generator.choice(np.arange(1, steps), cuts, replace=False)) for cuts in (1, 3)]
    for cuts in splits:
        bounds = [0, *map(int, cuts), steps]
        session = started(files, runtime, states)
        pieces = [session.run(part(files, inputs, "time", a, b)) for a, b in itertools.pairwise(bounds)]
        same(joined(files, pieces, "time"), expected)
        same(session.state, whole.state)
    assert any((whole.state[key] != states[key]).any() for key in states), "no state moved: the case says nothing"


@pytest.mark.parametrize("name", CASES)
def test_a_batch_gives_the_bits_of_its_sequences(name: str) -> None:
    files = read_bundle(BUNDLES / f"{name}.zip")
    inputs, states = sequence(files, name)
    together = started(files, "onnxruntime", states)
    expected = together.run(inputs)
    count = size(files, inputs, "batch")
    assert count > 1
    pieces = []
    for index in range(count):
        alone = started(files, "onnxruntime", {key: array[index : index + 1] for key, array in states.items()})
        pieces.append(alone.run(part(files, inputs, "batch", index, index + 1)))
        same(alone.state, {key: array[index : index + 1] for key, array in together.state.items()})
    for output in files.manifest.outputs:
        if "batch" in output.shape:
            found = np.concatenate([piece[output.name] for piece in pieces], output.shape.index("batch"))
            same({output.name: found}, expected)


@pytest.mark.parametrize("name", CASES)
def test_a_state_goes_through_a_file(name: str, tmp_path: Path) -> None:
    """Saved in the middle of a sequence, and read by a session that knows nothing of the first."""
    files = read_bundle(BUNDLES / f"{name}.zip")
    inputs, states = sequence(files, name)
    steps = size(files, inputs, "time")
    whole = started(files, "onnxruntime", states)
    expected = whole.run(inputs)
    first = started(files, "onnxruntime", states)
    early = first.run(part(files, inputs, "time", 0, steps // 2))
    first.save_state(tmp_path / "state.npz")
    second = Session(files, runtime="onnxruntime", raw=True)
    second.load_state(tmp_path / "state.npz")
    late = second.run(part(files, inputs, "time", steps // 2, steps))
    same(joined(files, [early, late], "time"), expected)
    same(second.state, whole.state)


@pytest.mark.parametrize("name", [names[0] for names in CHOSEN.values() if names])
def test_the_command_line_streams_across_processes(name: str, tmp_path: Path) -> None:
    """``qdeploy run --save-state`` and ``--state``: two processes give the bits of one call."""
    files = read_bundle(BUNDLES / f"{name}.zip")
    inputs, _ = sequence(files, name)
    steps = size(files, inputs, "time")
    bundle = str(BUNDLES / f"{name}.zip")

    def call(start: int, stop: int, *options: str) -> Arrays:
        piece, written = tmp_path / f"{start}-{stop}.npz", tmp_path / f"out-{start}-{stop}.npz"
        np.savez(piece, **part(files, inputs, "time", start, stop))
        words = [
            sys.executable,
            "-m",
            "qdeploy",
            "run",
            bundle,
            "--raw",
            "--input",
            str(piece),
            "--output",
            str(written),
        ]
        subprocess.run([*words, *options], check=True, capture_output=True)
        with np.load(written) as arrays:
            return dict(arrays)

    state = str(tmp_path / "state.npz")
    early = call(0, steps // 2, "--save-state", state)
    late = call(steps // 2, steps, "--state", state)
    expected = Session(files, runtime="onnxruntime", raw=True).run(inputs)
    same(joined(files, [early, late], "time"), expected)
