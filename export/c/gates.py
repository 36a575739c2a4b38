"""What layers with gates share: products whose rows are gates, sums of them, and looking up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.product import MatrixProduct, Run
from qdeploy.export.c.requantization import requantize_runs
from qdeploy.runtime.fast_loop import table_entries
from qdeploy.runtime.hamilton_product import components_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site
    from qdeploy.runtime.numeric import IntArray

__all__ = [
    "add_runs",
    "copy_state",
    "driven_part",
    "gate_product",
    "look_up",
    "moved",
    "of_rows",
    "start",
    "state_type",
    "state_update",
    "table_index",
    "table_size",
    "wrapped",
]

_LARGE_TILE = 16
"""Of targets whose memory is large beside a table."""

_LARGEST_TABLE = 4096
"""Entries that a table of knots stands for where the operator has no attribute that says so."""


def gate_product(
    site: Site, argument: str, x: Operand, zero_point: int, gates: int, *, rows: slice = slice(None)
) -> MatrixProduct:
    """The product with the stacked rows of some gates, all in one call of a kernel.

    Args:
        site: the layer.
        argument: its weight, int8 ``[G n, K]``.
        x, zero_point: what it is multiplied by.
        gates: how many gates ``rows`` has.
        rows: of the weight.

    Where the gates' matrices are quaternion ones, they are one Hamilton matrix when their real parts stand before their i,
    j and k parts, and the four components alone are kept: the runs say where each gate's outputs then are.
    """
    weight = site.constant(argument)[rows]
    if components_of(weight) is None:
        for order in _orders(site, argument, gates, len(weight)):
            permuted = np.ascontiguousarray(weight[order])
            found = components_of(permuted)
            if found is not None and found[1] == "blocked":
                return _reordered(MatrixProduct.of(site, argument, x, zero_point, matrix=permuted), order)
    return MatrixProduct.of(site, argument, x, zero_point, matrix=weight)


def _orders(site: Site, argument: str, gates: int, outputs: int) -> Iterator[IntArray]:
    """Orders of rows in which a Hamilton matrix may show: that which the file has, then by part and gate."""
    natural = np.arange(outputs)
    source = site.source(argument)
    if source is not None and source.operator == "GateRows" and len(source.attributes["order"]) == gates:
        parts, order = source.attributes["parts"], source.attributes["order"]
        by_gate = natural.reshape(gates, parts, -1)
        yield by_gate[np.argsort(order)].transpose(1, 0, 2).reshape(-1)
    if outputs % (4 * gates) == 0:
        yield natural.reshape(gates, 4, -1).transpose(1, 0, 2).reshape(-1)


def _reordered(product: MatrixProduct, order: IntArray) -> MatrixProduct:
    """A product whose row number k is row ``order[k]`` of the layer, told in the layer's order."""
    places = np.empty(len(order), np.int64)
    rest = np.empty_like(product.rest)
    for run in product.runs:
        places[order[run.first : run.first + run.count]] = np.arange(run.place, run.place + run.count)
    rest[order] = product.rest
    breaks = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(order)]
    runs = tuple(Run(first, last - first, int(places[first])) for first, last in pairwise(breaks))
    lowest = None if product.lowest is None else replace(product.lowest, runs=runs)
    return replace(product, runs=runs, rest=rest, lowest=lowest)


def of_rows(runs: Iterable[Run], first: int, count: int) -> list[Run]:
    """The runs of outputs ``first`` and on, ``count`` of them, counted from 0 at ``first``."""
    found = []
    for run in runs:
        begin, end = max(run.first, first), min(run.first + run.count, first + count)
        if begin < end:
            found.append(Run(begin - first, end - begin, run.place + begin - run.first))
    return found


def overlaps(runs: Iterable[Run], others: Iterable[Run]) -> Iterator[tuple[int, int, int, int]]:
    """Outputs that lie one after the other in both of two accumulators: first output, count, place in each."""
    others = list(others)
    for run in runs:
        for other in of_rows(others, run.first, run.count):
            yield run.first + other.first, other.count, run.place + other.first, other.place


def add_runs(site: Site, accumulator: str, runs: list[Run], part: str, part_runs: list[Run]) -> None:
    """accumulator += part, output by output."""
    kernel = site.kernel("add_s32")
    pieces: list[tuple[int, int, int]] = []
    for to, of, count in sorted((to, of, count) for _, count, to, of in overlaps(runs, part_runs)):
        if pieces and (to, of) == (pieces[-1][0] + pieces[-1][2], pieces[-1][1] + pieces[-1][2]):
            first_to, first_of, before = pieces.pop()
            pieces.append((first_to, first_of, before + count))
        else:
            pieces.append((to, of, count))
    for to, of, count in pieces:
        site.line(f"{kernel}({moved(accumulator, to)}, {moved(part, of)}, {count});")


def moved(pointer: str, by: int) -> str:
    """The expression of a pointer ``by`` entries further."""
    return f"{pointer} + {by}" if by else pointer


def start(site: Site, product: MatrixProduct, accumulator: str, addend: IntArray, hint: str) -> None:
    """accumulator = addend, int64 ``[N]``, and the rest of the product."""
    values = wrapped(product.arranged(np.asarray(addend, np.int64) + product.rest))
    if values.any():
        name = site.array(hint, values, note="with what the zero point adds")
        site.line(f"memcpy({accumulator}, {name}, {product.size} * sizeof *{accumulator});")
    else:
        site.line(f"memset({accumulator}, 0, {product.size} * sizeof *{accumulator});")


def driven_part(
    site: Site,
    product: MatrixProduct,
    accumulator: str,
    x: str,
    bias: IntArray,
    *,
    low: int = -(2**31),
    high: int = 2**31 - 1,
) -> None:
    """accumulator = u: the input's part, with its bias, at the scale of the recurrent product.

    Args:
        site: the layer; has ``input_multiplier`` and ``input_shift``.
        product: with the input weight.
        accumulator: int32, of the product's size.
        x: expression of the input.
        bias: int64 ``[N]``, at the scale of U x.
        low, high: what u is clipped to.
    """
    multiplier = site.constant("input_multiplier")
    shift = site.attributes["input_shift"]
    start(site, product, accumulator, bias, "input_bias")
    site.line(product.call(accumulator, x))
    if shift == 0 and (multiplier == 1).all() and low == -(2**31):
        return
    requantize_runs(
        site,
        accumulator,
        np.dtype(np.int32),
        accumulator,
        [Run(0, product.size, 0)],
        multiplier=product.arranged(multiplier) if multiplier.size > 1 else multiplier,
        shift=shift,
        zero_point=0,
        low=low,
        high=high,
        hint="input_multiplier",
    )


def look_up(site: Site, y: str, index: str, argument: str, count: int) -> None:
    """y[n] = table[index[n]]; of int16 tables y may be ``index``.

    A table that the file keeps as knots of straight lines stays so on targets of small memory; elsewhere all entries are
    stored, and one load reads each.
    """
    table = site.constant(argument)
    source = site.source(argument)
    if source is not None and source.operator == "InterpolatedTable":
        knots, size = source.inputs["knots"], 2 ** int(source.attributes["bits"])
    elif len(table) % 2:
        knots, size = table, _LARGEST_TABLE
    else:
        knots, size = None, len(table)
    kind = "s32" if table.dtype == np.int32 else "s16"
    if knots is not None and site.target.tile < _LARGE_TILE:
        shift = (size // (len(knots) - 1)).bit_length() - 1
        name = site.array(f"{argument}_knots", knots, note=f"every {2**shift}th entry, and the end of the last line")
        site.line(f"{site.kernel(f'on_lines_{kind}')}({y}, {index}, {name}, {shift}, {count});")
        return
    entries = table_entries(table).astype(table.dtype)
    site.line(f"{site.kernel(f'look_up_{kind}')}({y}, {index}, {site.array(argument, entries)}, {count});")


def state_update(site: Site, h: Operand, gate: str, candidate: str) -> None:
    """h = (1 - z) n + z h, of a gate in Q0.15 and a candidate; attributes as GRU has them."""
    attributes = site.attributes
    kernel = site.kernel(f"mix_states_{state_type(h)}")
    site.remark("h = (1 - z) n + z h")
    site.line(
        f"{kernel}({h.name}, {gate}, {candidate}, {h.entries}, {attributes['state_shift']}, "
        f"{attributes['h_zero_point']}, {attributes['low']}, {attributes['high']});"
    )


def state_type(h: Operand) -> str:
    """How kernels of this state's type end."""
    return {"uint8": "u8", "int16": "s16"}[h.tensor.dtype.name]


def copy_state(site: Site, y: Operand | None, step: str, h: Operand) -> None:
    """y[step] = h, where anyone reads all states."""
    if y is not None:
        site.line(f"memcpy({site.at(y.name, step, h.entries)}, {h.name}, {h.entries} * sizeof *{h.name});")


def table_index(
    site: Site,
    index: str,
    accumulator: str,
    runs: Iterable[Run],
    multiplier: IntArray,
    shift: int,
    *,
    argument: str,
    hint: str = "multiplier",
) -> None:
    """index = clip(round(accumulator * multiplier / 2^shift) + size / 2) of the table ``argument``."""
    size = table_size(site, argument)
    requantize_runs(
        site,
        index,
        np.dtype(np.int16),
        accumulator,
        runs,
        multiplier=multiplier,
        shift=shift,
        zero_point=size // 2,
        low=0,
        high=size - 1,
        hint=hint,
    )


def table_size(site: Site, argument: str) -> int:
    """Entries of a table; those that it stands for, where it is one of knots."""
    size = len(site.constant(argument))
    return _LARGEST_TABLE if size % 2 else size


def wrapped(values: IntArray) -> IntArray:
    """int32: modulo 2^32, as the kernels count."""
    return values.astype(np.uint32).view(np.int32)
