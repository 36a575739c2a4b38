"""Products with constant matrices: which kernel, how its weights are packed, what joins the bias.

A kernel computes ``acc[n] += sum_k w[n][k] * (x[k] - MODEL_OFFSET)``, and nothing else. The rest of W (x - zero_point) is
constant: it goes into the bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.packing import COLUMNS, hamilton_tiles, padded, stored_bits, tiles
from qdeploy.export.c.sparse import sparse_rows
from qdeploy.runtime.hamilton_product import components_of
from qdeploy.runtime.ops.hadamard_matrix import hadamard_signs, pack_signs

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdeploy.export.c.site import Operand, Site
    from qdeploy.runtime.numeric import IntArray

__all__ = ["MatrixProduct", "Run", "compact_form"]

_QUATERNION_BITS = {"u8": (8, 4), "s16": (8,)}
"""Storage that the quaternion kernels read, by the type of x."""

_LOWEST = -128

_SMALLEST_BLOCK = 8
"""Of a Hadamard matrix that is transformed: a smaller one has few entries that are not 0."""


@dataclass(frozen=True)
class Run:
    """Outputs that lie one after the other in the accumulator: ``count`` of them from output ``first``, at ``place``."""

    first: int
    count: int
    place: int


@dataclass(frozen=True)
class MatrixProduct:
    """W (x - zero_point) for a constant W ``[N, K]``, as calls of one kernel.

    Attributes:
        outputs, inputs: N and K.
        rows, columns: with the padding that the kernel wants; of one component in a quaternion kernel.
        runs: where the outputs stand in the accumulator.
        size: entries of the accumulator.
        weight: the packed array's name.
        kernel: the kernel's name.
        part: columns of a component in a quaternion kernel, else 0.
        rest: int64 ``[N]``: what the kernel leaves out.
        lowest: -1 where the weight is -128, else 0, as a product of its own; None where there is none. -128 has no
            negative in 8 bits, and two products of it overflow the 16 bits in which some kernels add pairs.
        sparse: whether the kernel reads only weights that are not 0, from the three arrays that ``weight`` names.
        work: memory of a fast Walsh-Hadamard transform, whose rows are the matrix's and whose columns a block's.
    """

    outputs: int
    inputs: int
    rows: int
    columns: int
    runs: tuple[Run, ...]
    size: int
    weight: str
    kernel: str
    part: int
    rest: IntArray
    lowest: MatrixProduct | None = None
    sparse: bool = False
    work: str = ""

    @classmethod
    def of(
        cls, site: Site, argument: str, x: Operand, zero_point: int, *, matrix: IntArray | None = None
    ) -> MatrixProduct:
        """Of a layer's weight.

        Args:
            site: the layer.
            argument: the weight's parameter in the contract; names the array.
            x: what it is multiplied by; uint8 or int16.
            zero_point: of x.
            matrix: int8 ``[N, K]`` in place of the argument's value, for weights that are no matrix as they stand.
        """
        weight = site.constant(argument) if matrix is None else matrix
        kind = {"uint8": "u8", "int16": "s16"}[x.tensor.dtype.name]
        hadamard = hadamard_signs(weight)
        if hadamard is not None and hadamard[1] >= _SMALLEST_BLOCK:
            return cls._hadamard(site, argument, *hadamard, kind, weight.astype(np.int64).sum(axis=1) * -zero_point)
        offset = site.target.offset if kind == "u8" else 0
        rest = weight.astype(np.int64).sum(axis=1) * (offset - zero_point)
        if site.target.offset and int(weight.min()) == _LOWEST:
            # Both real: one accumulator serves them.
            product = cls._real(site, argument, np.maximum(weight, _LOWEST + 1), kind, rest)
            lowest = -(weight == _LOWEST).astype(np.int8)
            return replace(product, lowest=cls._real(site, f"{argument}_lowest", lowest, kind, rest))
        compact = compact_form(weight, kind, site.target.tile)
        if compact is not None:
            sparse = cls._sparse(site, argument, compact[0], compact[1], kind, rest)
            return sparse or cls._quaternion(site, argument, *compact, kind, rest)
        sparse = cls._sparse(site, argument, weight[None], stored_bits(weight), kind, rest)
        return sparse or cls._real(site, argument, weight, kind, rest)

    @classmethod
    def _sparse(
        cls, site: Site, argument: str, components: IntArray, bits: int, kind: str, rest: IntArray
    ) -> MatrixProduct | None:
        """Of one component or four, where what is not zero takes less and no vector instructions would read the rest faster."""
        target = site.target
        if target.tile > COLUMNS or target.offset:
            return None
        parts, outputs, inputs = components.shape
        # Rows are padded as those of tiles are, so that products of both kinds share an accumulator.
        rows = padded(outputs, target.tile)
        full = np.zeros((parts, rows, inputs), np.int8)
        full[:, :outputs] = components
        found = sparse_rows(full.reshape(parts * rows, inputs))
        if found is None or found.nbytes >= parts * _stored_bytes(components[0], bits, target.tile):
            return None
        entries = f"{np.count_nonzero(components)} of {components.size} weights that are not 0"
        names = (
            site.array(f"{argument}_gaps", found.gaps, note=f"columns between {entries}"),
            site.array(f"{argument}_values", found.values),
            site.array(f"{argument}_counts", found.counts, note="entries of each row"),
        )
        kernel = site.kernel(f"sparse_{'quaternion_' if parts > 1 else ''}{kind}")
        runs = tuple(Run(part * outputs, outputs, part * rows) for part in range(parts))
        return cls(
            parts * outputs,
            parts * inputs,
            rows,
            inputs,
            runs,
            parts * rows,
            ", ".join(names),
            kernel,
            inputs if parts > 1 else 0,
            rest,
            sparse=True,
        )

    @classmethod
    def _hadamard(
        cls, site: Site, argument: str, signs: IntArray, block: int, kind: str, rest: IntArray
    ) -> MatrixProduct:
        """By the fast Walsh-Hadamard transform: log2(block) additions an output, and one bit of memory."""
        size = len(signs)
        name = site.array(
            f"{argument}_signs", pack_signs(signs), note=f"{size} rows: 1 turns the sign, least bit first"
        )
        work = site.scratch("transform", "int32", size)
        kernel = site.kernel(f"hadamard_{kind}")
        full = padded(size, site.target.tile)
        return cls(size, size, size, block, (Run(0, size, 0),), full, name, kernel, 0, rest, work=work)

    @classmethod
    def _real(cls, site: Site, argument: str, weight: IntArray, kind: str, rest: IntArray) -> MatrixProduct:
        bits = stored_bits(weight)
        if bits == 4 and kind == "s16" and site.target.bytes_beside_s16:
            bits = 8
        outputs, inputs = weight.shape
        rows, columns = padded(outputs, site.target.tile), padded(inputs, COLUMNS * 8 // bits)
        name = site.array(
            argument,
            tiles(weight, bits, site.target.tile),
            note=f"{outputs} x {inputs} weights of {bits} bits, in tiles of {site.target.tile} x {COLUMNS}",
            aligned=True,
        )
        kernel = site.kernel(f"matvec_{kind}_w{bits}")
        return cls(outputs, inputs, rows, columns, (Run(0, outputs, 0),), rows, name, kernel, 0, rest)

    @classmethod
    def _quaternion(
        cls, site: Site, argument: str, components: IntArray, bits: int, kind: str, rest: IntArray
    ) -> MatrixProduct:
        _, outputs, inputs = components.shape
        rows, columns = padded(outputs, site.target.tile), padded(inputs, COLUMNS * 8 // bits)
        name = site.array(
            argument,
            hamilton_tiles(components, bits, site.target.tile),
            note=f"r, i, j, k: {outputs} x {inputs} each, {bits} bits, in tiles of {site.target.tile} x {COLUMNS}",
            aligned=True,
        )
        kernel = site.kernel(f"quaternion_{kind}_w{bits}")
        runs = tuple(Run(part * outputs, outputs, part * rows) for part in range(4))
        return cls(4 * outputs, 4 * inputs, rows, columns, runs, 4 * rows, name, kernel, inputs, rest)

    @property
    def reads(self) -> int:
        """Entries of x that the kernel reads."""
        own = 3 * self.part + self.columns if self.part else self.columns
        return own if self.lowest is None else max(own, self.lowest.reads)

    def arranged(self, values: IntArray) -> IntArray:
        """``[N]`` in the accumulator's order, 0 elsewhere; of the values' type."""
        full = np.zeros(self.size, values.dtype)
        for run in self.runs:
            full[run.place : run.place + run.count] = values[run.first : run.first + run.count]
        return full

    def start(self, bias: IntArray) -> IntArray:
        """int32: what the accumulator holds before the product: the bias and the rest, modulo 2^32."""
        return self.arranged(np.asarray(bias, np.int64) + self.rest).astype(np.uint32).view(np.int32)

    def call(self, accumulator: str, x: str) -> str:
        """The statement that adds the product to the accumulator."""
        part = f", {self.part}" if self.part else ""
        if self.sparse:
            return f"{self.kernel}({accumulator}, {self.weight}, {x}, {self.rows}{part});"
        work = f", {self.work}" if self.work else ""
        own = f"{self.kernel}({accumulator}, {self.weight}, {x}, {self.rows}, {self.columns}{part}{work});"
        return own if self.lowest is None else f"{own}\n{self.lowest.call(accumulator, x)}"

    def readable(self, site: Site, x: Operand) -> Callable[[str], str]:
        """Makes of the expression of a vector of ``x`` one that the kernel may read beyond the vector's end.

        Where x is the caller's memory, which ends with it, the vector is copied into scratch memory of the layer first.
        """
        if x.slack or self.reads <= self.inputs:
            return lambda expression: expression
        name = site.scratch(f"{x.name}_padded", x.tensor.dtype, self.reads)

        def copied(expression: str) -> str:
            site.line(f"memcpy({name}, {expression}, {self.inputs} * sizeof *{name});")
            return name

        return copied


def compact_form(weight: IntArray, kind: str, tile: int) -> tuple[IntArray, int] | None:
    """The components ``[4, N/4, K/4]`` of a matrix and the bits that they are stored with, where a quaternion kernel serves.

    None for a matrix that is none of Hamilton's in blocks, and where the components would take no less: of few rows, most of
    a component's tile is padding.

    Args:
        weight: int8 ``[N, K]``.
        kind: of x, ``u8`` or ``s16``.
        tile: rows of a tile.
    """
    found = components_of(weight)
    # -128 has no negative in 8 bits: no component may be it.
    if found is None or found[1] != "blocked" or int(weight.min()) == _LOWEST:
        return None
    components = found[0]
    bits = max(stored_bits(components.reshape(-1, components.shape[2])), min(_QUATERNION_BITS[kind]))
    if bits not in _QUATERNION_BITS[kind]:
        return None
    own = 4 * _stored_bytes(components[0], bits, tile)
    return (components, bits) if own < _stored_bytes(weight, stored_bits(weight), tile) else None


def _stored_bytes(weight: IntArray, bits: int, tile: int) -> int:
    """What a matrix takes in tiles, with its padding."""
    return padded(weight.shape[0], tile) * padded(weight.shape[1], COLUMNS * 8 // bits) * bits // 8
