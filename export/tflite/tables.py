"""Tables of recurrent layers: the file keeps their knots, as model.onnx does, and the runtime draws the lines between them.

A runtime of TensorFlow Lite folds nothing when it loads a file. So a call that runs a loop computes all entries once, before
the loop, in about 3 ns each; a call of one step, which would wait for that, computes those entries that it looks up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.straight_lines import on_straight_lines

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.loop import Variables
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["LookUps", "Table", "narrow"]


def narrow(values: IntArray) -> IntArray:
    """Integers in the narrowest type that holds them all and that GATHER takes: uint8, int16 or int32."""
    low, high = int(values.min()), int(values.max())
    fitting = (kind for kind in (np.uint8, np.int16) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    result: IntArray = values.astype(next(fitting, np.int32))
    return result


@dataclass(frozen=True)
class Table:
    """A table by its entries, or by knots that straight lines connect: see ``runtime.straight_lines``.

    Attributes:
        values: ``[size]``, every entry, or the 2^n + 1 knots.
        size: entries.
    """

    values: IntArray
    size: int

    @classmethod
    def of(cls, site: Site, argument: str) -> Table:
        """An input of a layer, by its knots where the file has them."""
        source, entries = site.source(argument), site.constant(argument)
        if source is not None and source.operator == "InterpolatedTable":
            return cls.with_lines(source.inputs["knots"], entries.size)
        return cls(entries, entries.size)

    @classmethod
    def with_lines(cls, values: IntArray, size: int) -> Table:
        """Of 2^n entries as they are, or of 2^n + 1 knots of ``size`` entries."""
        if values.size & (values.size - 1) == 0:
            return cls(values, values.size)
        # The lines are drawn in 32 bits; knots that are too far apart for that are not kept as such.
        steepest = int(np.abs(np.diff(values.astype(np.int64))).max()) + 1
        fits = steepest * (size // (values.size - 1)) < 2**31
        return cls(values, size) if fits else cls(on_straight_lines(values, size), size)

    @property
    def drawn(self) -> bool:
        """Whether there are lines between the values."""
        return self.values.size != self.size

    @property
    def half(self) -> int:
        """The index of 0."""
        return self.size // 2

    def moved(self, offset: int) -> Table:
        """With ``offset`` added to every entry."""
        return replace(self, values=self.values.astype(np.int64) + offset)

    @property
    def apart(self) -> int:
        """Entries of a line."""
        return self.size // (self.values.size - 1)


def _knots(code: Code, tables: list[Table]) -> list[Value]:
    """int32 ``[2^n + 1]`` each: the knots of tables of one kind, which are one constant."""
    held = narrow(np.concatenate([table.values for table in tables]))
    knots, size = code.cast(code.subgraph.constant(held, held.dtype), np.int32), tables[0].values.size
    return [knots] if len(tables) == 1 else code.split(knots, [size] * len(tables), 0)


def _on_line(code: Code, knots: Value, apart: int, index: Value) -> Value:
    """int32: the entries at these indices."""
    place = code.shift_right(index, apart.bit_length() - 1)
    begin = code.gather(knots, place)
    rise = code.subtract(code.gather(knots, code.add(place, 1)), begin)
    parts = code.multiply(rise, code.subtract(index, code.multiply(place, apart)))
    return code.add(code.shift_right(code.add(parts, apart // 2), apart.bit_length() - 1), begin)


def _drawn(code: Code, tables: list[Table]) -> list[Value]:
    """int32 ``[size]`` each: all entries of tables of one kind, drawn by the same operators."""
    apart, size, lines, count = tables[0].apart, tables[0].size, tables[0].values.size - 1, len(tables)
    held = narrow(np.stack([table.values for table in tables]))
    knots = code.cast(code.subgraph.constant(held[:, :, None], held.dtype), np.int32)
    begin = code.slice(knots, [0, 0, 0], [count, lines, 1])
    rise = code.subtract(code.slice(knots, [0, 1, 0], [count, lines, 1]), begin)
    parts = code.add(code.multiply(rise, np.arange(apart)[None]), apart // 2)
    drawn = code.reshape(code.add(code.shift_right(parts, apart.bit_length() - 1), begin), (count * size,))
    return [drawn] if count == 1 else code.split(drawn, [size] * count, 0)


class LookUps:
    """The tables of one layer, for its loop or its one step.

    Args:
        code: where the loop goes.
        drive: what it runs along, ``[T, N]``.
        tables: by name.

    Attributes:
        start: the loop's variables for them: entries, or for one step knots.
    """

    def __init__(self, code: Code, drive: Value, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._single = drive.shape[0] == 1
        alike: dict[tuple[Any, ...], list[str]] = {}
        for name, table in tables.items():
            if table.drawn:
                alike.setdefault((table.values.size, table.size, narrow(table.values).dtype.name), []).append(name)
        made = _knots if self._single else _drawn
        self.start: Variables = {
            f"{name}_table": value
            for names in alike.values()
            for name, value in zip(names, made(code, [tables[name] for name in names]), strict=True)
        }

    def entries(self, code: Code, now: Variables, name: str, index: Value) -> Value:
        """int32: the entries of a table at these indices, in a step whose variables are ``now``."""
        table = self._tables[name]
        if table.drawn:
            held = now[f"{name}_table"]
            found = _on_line(code, held, table.apart, index) if self._single else code.gather(held, index)
            code.subgraph.roles[found.index] = (name, index)
            return found
        values = narrow(table.values)
        return code.cast(code.gather(values, index, dtype=values.dtype), np.int32)
