"""Parts of a flatbuffers file: written once, and where the schema wants them."""

from __future__ import annotations

import numpy as np

from qdeploy.export.tflite.compact_builder import CompactBuilder
from qdeploy.export.tflite.schema import IDENTIFIER
from qdeploy.export.tflite.writer import ModelWriter


def test_what_is_alike_is_written_once() -> None:
    builder = CompactBuilder()
    shape = builder.numbers([1, 64])
    tensor = builder.table([(0, "offset", shape), (1, "int8", 2)], slots=9)
    before = builder.size
    assert builder.numbers([1, 64]) == shape
    # A value of 0 is the default: it is not written, so it makes no other table.
    assert builder.table([(1, "int8", 2), (0, "offset", shape), (2, "uint32", 0)], slots=9) == tensor
    assert builder.offsets([tensor, tensor]) == builder.offsets([tensor, tensor])
    assert builder.size == before + 12
    assert builder.text("step") == builder.text("step")


def test_what_differs_stands_apart() -> None:
    builder = CompactBuilder()
    places = [
        builder.numbers([1, 0]),
        # The same bytes, of another type.
        builder.numbers([1], np.int64),
        builder.numbers([0, 1]),
        builder.text("a"),
        builder.content(b"a"),
        builder.table([(1, "int8", 2)], slots=9),
        builder.table([(2, "int8", 2)], slots=9),
        builder.table([(2, "uint8", 2)], slots=9),
    ]
    assert len(set(places)) == len(places)


def test_tables_of_one_layout_share_it_wherever_they_lie() -> None:
    # The layout, 2 bytes a slot and 4 more, comes with the first; texts in between move what follows by odd bytes.
    builder = CompactBuilder()
    sizes = []
    for number in range(1, 9):
        builder.text("x" * number)
        before = builder.size
        builder.table([(1, "int8", number), (2, "uint32", number), (8, "bool", 1)], slots=9)
        sizes.append(builder.size - before)
    assert sizes[0] == max(sizes)
    assert set(sizes[1:]) == {12}


def test_values_lie_at_multiples_of_16() -> None:
    writer = ModelWriter("test")
    number, graph = writer.subgraph("main")
    x = graph.input("x", np.int32, (1, 8))
    constants = [np.arange(size, dtype=np.int32) + (size << 16) for size in (8, 5, 3)]
    y = x
    for values in constants:
        y = graph.add("ADD", [y, graph.constant(np.resize(values, 8))], np.int32, (1, 8))
    graph.output(y)
    writer.signature("serving_default", number, {"x": x}, {"y": y})
    content = writer.to_bytes()
    assert content[4:8] == IDENTIFIER
    for values in constants:
        found = content.index(np.resize(values, 8).tobytes())
        assert found % 16 == 0
