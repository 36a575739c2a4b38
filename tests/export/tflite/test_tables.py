"""Tables of knots: what a runtime draws between them against the contract's lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.tables import LookUps, Table, narrow
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.litert_interpreter import interpreter_module
from qdeploy.runtime.straight_lines import on_straight_lines

Array = NDArray[Any]


def drawn(table: Table, index: Array, *, steps: int | None) -> Array:
    """Entries of ``table`` as a layer that runs along ``steps`` steps looks them up."""
    writer = ModelWriter("test")
    number, graph = writer.subgraph("main")
    code = Code(graph)
    drive = graph.input("drive", np.int32, (steps, 1))
    x = graph.input("x", np.int32, index.shape)
    look_ups = LookUps(code, drive, {"sigma": table})
    y = look_ups.entries(code, look_ups.start, "sigma", x)
    graph.output(y)
    writer.signature("serving_default", number, {"drive": drive, "x": x}, {"y": y})
    runner = interpreter_module().Interpreter(model_content=writer.to_bytes()).get_signature_runner()
    found: Array = runner(drive=np.zeros((1, 1), np.int32), x=index)["y"]
    return found


@pytest.mark.litert
@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 6), st.integers(0, 5), st.sampled_from([np.int16, np.int32]), st.booleans())
def test_lines_are_the_contract_s(data: st.DataObject, knots: int, apart: int, kind: Any, single: bool) -> None:
    # Knots of 32 bits, as FastGRNN's, lie near enough for lines in 32 bits.
    reach = 2**15 if kind is np.int16 else 2**24
    numbers = st.one_of(st.sampled_from([-reach, reach - 1, 0]), st.integers(-reach, reach - 1))
    count = 2**knots + 1
    values = np.array(data.draw(st.lists(numbers, min_size=count, max_size=count)), kind)
    size = 2 ** (knots + apart)
    table = Table(values, size)
    index = np.arange(size, dtype=np.int32)[None]
    assert (drawn(table, index, steps=1 if single else None) == on_straight_lines(values, size)).all()


@pytest.mark.litert
@pytest.mark.parametrize("steps", [1, None])
def test_a_table_without_lines_is_looked_up_as_it_is(steps: int | None) -> None:
    entries = np.random.default_rng(0).integers(-(2**15), 2**15, 256).astype(np.int16)
    index = np.array([[0, 255, 17, 17]], np.int32)
    assert (drawn(Table.with_lines(entries, 4096), index, steps=steps) == entries[index]).all()


def test_knots_too_far_apart_for_32_bits_become_entries() -> None:
    far = np.array([-(2**30), 2**30, 0], np.int32)
    table = Table.with_lines(far, 64)
    assert not table.drawn
    assert (table.values == on_straight_lines(far, 64)).all()
    assert Table.with_lines(far // 64, 64).drawn


def test_an_offset_moves_every_entry() -> None:
    knots = np.array([-100, 7, 90], np.int16)
    moved = Table(knots, 16).moved(2**15)
    assert (on_straight_lines(moved.values, 16) == on_straight_lines(knots, 16) + 2**15).all()


def test_the_narrowest_type_that_holds_all() -> None:
    for values, kind in (([0, 255], np.uint8), ([-1, 255], np.int16), ([0, 2**15], np.int32), ([-(2**31)], np.int32)):
        array = np.array(values, np.int64)
        assert narrow(array).dtype == kind
        assert (narrow(array) == array).all()
