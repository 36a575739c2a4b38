"""Recurrent layers in C, of many sizes, widths, shifts and multipliers: every step and state as the contract has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, StateSpec
from qdeploy.runtime.reference import ReferenceModel
from tests.ops import test_fast_cells, test_gru, test_gru_reset_before, test_ligru, test_lstm, test_lstm_8x8x16

from .running import Library, of_model

pytestmark = pytest.mark.cc

Arrays = dict[str, NDArray[Any]]
Case = tuple[onnx.ModelProto, Arrays]

CHECKED = ("-O0", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
"""Signed overflow and shifts that C does not define end the program."""


def weights(rows: int, columns: int, bits: int, seed: int = 5) -> NDArray[np.int8]:
    """Weights of the whole range of ``bits``; of one bit, signs."""
    generator = np.random.default_rng(seed)
    if bits == 1:
        return generator.choice([-1, 1], (rows, columns)).astype(np.int8)
    half = 1 << (bits - 1)
    found = generator.integers(-half, half, (rows, columns)).astype(np.int8)
    # Both ends are there whatever the seed.
    found.flat[:2] = -half, half - 1
    return found


def quaternion_gates(gates: int, outputs: int, inputs: int) -> NDArray[np.int8]:
    """A Hamilton matrix ``[4 outputs, 4 inputs]`` for each gate, one under the other."""
    generator = np.random.default_rng(9)
    stacked = []
    for _ in range(gates):
        r, i, j, k = generator.integers(-127, 128, (4, outputs, inputs)).astype(np.int8)
        stacked += [np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])]
    return np.vstack(stacked)


def gru(state_bits: int, **changed: Any) -> Case:
    return test_gru.layer(state_bits, **changed)


def gru_of_bits(bits: int, units: int) -> Case:
    return test_gru.layer(
        12,
        units=units,
        input_weight=weights(3 * units, test_gru.INPUTS, max(bits, 2)),
        recurrent_weight=weights(3 * units, units, bits),
        multiplier=np.full(3 * units, 1 << 20 >> bits, np.int32),
    )


def gru_of_quaternions() -> Case:
    return test_gru.layer(12, units=12, recurrent_weight=quaternion_gates(3, 3, 3))


def gru_of_knots(state_bits: int) -> Case:
    """Both tables as InterpolatedTable, of 4097 to 2 knots."""
    model, feeds = test_gru.layer(state_bits)
    for name, apart in (("sigmoid_table", 16), ("tanh_table", 4)):
        (whole,) = (i for i in model.graph.initializer if i.name == name)
        entries = onnx.numpy_helper.to_array(whole)
        knots = np.append(entries[::apart], entries[-1:])
        model.graph.initializer.remove(whole)
        model.graph.initializer.append(onnx.numpy_helper.from_array(knots, f"{name}_knots"))
        node = onnx.helper.make_node("InterpolatedTable", [f"{name}_knots"], [name], domain="qdeploy", bits=12)
        model.graph.node.insert(0, node)
    return model, feeds


def reset_before(state_bits: int, **changed: Any) -> Case:
    return test_gru_reset_before.layer(state_bits, **changed)


def reset_before_of_quaternions() -> Case:
    return test_gru_reset_before.layer(8, hidden=12, recurrent_weight=quaternion_gates(3, 3, 3))


def lstm(*, x_type: str = "uint8", extreme: bool = False, **chosen: Any) -> Case:
    model, constants, attributes = test_lstm.layer(x_type=x_type, **chosen)
    return model, test_lstm.random_feeds(constants, attributes, x_type, extreme=extreme)


def built_in_lstm(**chosen: int) -> Case:
    model, _, _ = test_lstm_8x8x16.layer(**chosen)
    return model, test_lstm_8x8x16.feeds(model)


def ligru(state_bits: int, **chosen: Any) -> Case:
    return test_ligru.layer(state_bits, **chosen)


def fast(**chosen: Any) -> Case:
    model, _, _, feeds = test_fast_cells.layer(**chosen)
    return model, feeds


CASES: dict[str, Callable[[], Case]] = {
    "gru-state2": lambda: gru(2),
    "gru-state8": lambda: gru(8, units=33),
    "gru-state16": lambda: gru(16),
    "gru-one-unit": lambda: gru(12, units=1),
    "gru-weights1": lambda: gru_of_bits(1, 32),
    "gru-weights2": lambda: gru_of_bits(2, 17),
    "gru-weights4": lambda: gru_of_bits(4, 17),
    "gru-weights7": lambda: gru_of_bits(7, 5),
    "gru-lowest-weights": lambda: gru_of_bits(8, 5),
    "gru-clipped-drive": lambda: gru(8, **test_gru.shifts("a_drive_that_is_clipped", 8)),
    "gru-multipliers-of-31-bits": lambda: gru(
        12,
        multiplier=np.full(21, 2**31 - 1, np.int32),
        input_multiplier=np.full(21, 2**31 - 1, np.int32),
        shift=30,
        input_shift=30,
    ),
    "gru-multipliers-of-1-bit": lambda: gru(8, **test_gru.shifts("rows_apart", 8)),
    "gru-knots": lambda: gru_of_knots(12),
    "gru-quaternions": gru_of_quaternions,
    "gru-reset-before-state2": lambda: reset_before(2),
    "gru-reset-before-state8": lambda: reset_before(8, hidden=33),
    "gru-reset-before-state16": lambda: reset_before(16, shifts=True),
    "gru-reset-before-quaternions": reset_before_of_quaternions,
    "lstm-state8": lambda: lstm(state_bits=8, hidden=33),
    "lstm-state16-of-wide-x": lambda: lstm(state_bits=16, x_type="int16", input_multiplier=1, input_shift=4, shift=26),
    "lstm-extreme": lambda: lstm(state_bits=5, random_tables=True, extreme=True),
    "lstm-shifted": lambda: lstm(recurrent_shift=3, weight_bits=4, per_row=False, shift=17, powers=True),
    "lstm-one-unit": lambda: lstm(hidden=1, inputs=1, weight_bits=2, index_bits=1, cell_bits=2),
    "lstm-multipliers-of-1": lambda: lstm(multiplier=1, input_multiplier=1, input_shift=0, shift=5, per_row=False),
    "lstm-8x8x16": lambda: built_in_lstm(hidden=33, x_zero_point=0, cell_integer_bits=4),
    "lstm-8x8x16-wide-cell": lambda: built_in_lstm(cell_integer_bits=6, output_shift=24, input_shift=32),
    "lstm-8x8x16-narrow-cell": lambda: built_in_lstm(cell_integer_bits=0, x_zero_point=255, recurrent_shift=23),
    "ligru-leaky": lambda: ligru(12),
    "ligru-relu": lambda: ligru(8, relu=True, hidden=33),
    "ligru-tanh": lambda: ligru(16, table=True),
    "ligru-large-candidates": lambda: ligru(
        12, candidate_multiplier=2**31 - 1, candidate_shift=20, slope=2**15 - 1, multiplier=np.full(14, 3, np.int32)
    ),
    "fast-rnn-state8": lambda: fast(gated=False, state_bits=8),
    "fast-rnn-low-rank-knots": lambda: fast(gated=False, rank=3, index_bits=5, knots=True),
    "fast-grnn-state16": lambda: fast(state_bits=16, weight_bits=4),
    "fast-grnn-of-wide-x": lambda: fast(x_type="int16", input_shift=9, weight_bits=3),
    "fast-grnn-low-rank-knots": lambda: fast(rank=5, index_bits=3, knots=True, state_bits=8, input_multiplier=-7),
    "fast-grnn-random-tables": lambda: fast(random_tables=True, index_bits=6, state_bits=6, index_shift=0),
}


def manifest_of(model: onnx.ModelProto, feeds: Arrays, *, whole_sequences: bool) -> Manifest:
    """Of a model of one recurrent layer."""
    (node,) = (node for node in model.graph.node if node.op_type != "InterpolatedTable")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    zero_points = {"h0": attributes.get("h_zero_point", 128), "c0": 0}
    x, hidden = feeds["x"], feeds["h0"].shape[1]
    kind = feeds["h0"].dtype.name
    return Manifest(
        schema=1,
        qdeploy="test",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(
            InputSpec(
                "x",
                "x",
                x.dtype.name,
                ("time", "batch", x.shape[2]),
                1.0,
                attributes["x_zero_point"],
                time_axis=0,
                batch_axis=1,
            ),
        ),
        outputs=(OutputSpec("y", kind, ("time", "batch", hidden), 1.0, zero_points["h0"]),),
        states=tuple(
            StateSpec(name, f"y_{name[0]}", feeds[name].dtype.name, ("batch", hidden), 1.0, zero_points[name], 16)
            for name in ("h0", "c0")
            if name in feeds
        ),
        tensors={},
        layers=(),
        files={},
        extra={"whole_sequences": True} if whole_sequences else {},
    )


def compare(library: Library, model: onnx.ModelProto, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """Runs every sequence of a batch alone; the reference's results."""
    wanted = ReferenceModel(model).run(feeds).outputs
    for sample in range(feeds["x"].shape[1]):
        alone = {name: np.take(array, [sample], -2) for name, array in feeds.items()}
        found = library.run(alone)
        for name, array in wanted.items():
            assert (found[name].reshape(-1) == np.take(array, sample, -2).reshape(-1)).all(), f"{name} of {sample}"
    return dict(wanted)


@pytest.mark.parametrize("target", ["generic", "host"])
@pytest.mark.parametrize("name", CASES)
def test_every_step_and_state_is_the_contracts(name: str, target: str, tmp_path: Path) -> None:
    model, feeds = CASES[name]()
    # Whole sequences and single steps are one text but for a loop: each case has one of them a target.
    whole = (list(CASES).index(name) + (target == "host")) % 2 == 1
    files = of_model(model, manifest_of(model, feeds, whole_sequences=whole))
    flags = CHECKED if target == "generic" else ("-O0",)
    found = compare(Library(files, tmp_path, target=target, flags=flags), model, feeds)
    assert len(np.unique(found["y"])) > 1


def test_any_split_of_a_sequence_gives_the_same_bits(tmp_path: Path) -> None:
    model, feeds = gru(12)
    library = Library(of_model(model, manifest_of(model, feeds, whole_sequences=False)), tmp_path, flags=("-O0",))
    alone = {name: array[..., :1, :] for name, array in feeds.items()}
    whole = library.run(alone)
    parts, state = [], alone["h0"]
    for piece in np.split(alone["x"], [1, 2, 7]):
        found = library.run({"x": piece, "h0": state})
        parts.append(found["y"])
        state = found["y_h"]
    assert (np.concatenate(parts) == whole["y"]).all()
    assert (state == whole["y_h"]).all()
