"""Matrices of recurrent layers that are made of quaternion components: compact storage, and what their rows share.

A row of components feeds four rows of the real matrix, whose entries differ in place and sign alone. So a lowering may
quantize the real matrix row by row, as any other: the four rows get one scale and the same integers, as long as nothing
but their own entries decides about a row. Then the integers of the components can be read off, and the file keeps those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import FloatGraph, attribute
from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.lowerings.hadamard_signs import HadamardSigns
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.weights import QuantizedWeight
from qdeploy.runtime.ops import OPERATORS, Node


@lowers("GateRows")
def gate_rows(context: Context, node: onnx.NodeProto) -> None:
    """Nothing by itself: the layer that reads the rows quantizes the components."""
    del context, node


@dataclass(frozen=True)
class QuaternionRows:
    """How a matrix is made: a ``HamiltonMatrix`` node, and the ``GateRows`` node behind it, if any."""

    hamilton: onnx.NodeProto
    ordering: onnx.NodeProto | None

    @classmethod
    def of(cls, floats: FloatGraph, name: str) -> QuaternionRows | None:
        """That of tensor ``name``, or None where it is no such matrix."""
        ordering = floats.producers.get(name)
        if ordering is not None and ordering.op_type == "GateRows":
            hamilton = floats.producers.get(ordering.input[0])
        else:
            ordering, hamilton = None, ordering
        if hamilton is None or hamilton.op_type != "HamiltonMatrix":
            return None
        return cls(hamilton, ordering)

    @property
    def grouping(self) -> str:
        """How the columns hold quaternions: ``blocked`` or ``adjacent``."""
        return str(attribute(self.hamilton, "grouping", "blocked"))

    def by_part(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows ``[N, ...]`` of the layer as the Hamilton matrix has them, ``[4, N/4, ...]``."""
        return rows[np.argsort(self.places(len(rows)))].reshape(4, len(rows) // 4, *rows.shape[1:])

    def shared(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """``values`` ``[N]`` of the layer's rows, those of each output quaternion raised to their largest."""
        largest = np.tile(self.by_part(values).max(axis=0), 4)
        raised: NDArray[np.float64] = largest[self.places(len(values))]
        return raised

    def places(self, count: int) -> NDArray[np.intp]:
        """For each of the layer's rows, which row of the Hamilton matrix it is."""
        rows = np.arange(count)
        if self.ordering is None:
            return rows
        order = list(attribute(self.ordering, "order"))
        blocks = rows.reshape(int(attribute(self.ordering, "parts")), len(order), -1)
        places: NDArray[np.intp] = blocks.transpose(1, 0, 2)[order].reshape(-1)
        return places

    def components(self, weight: QuantizedWeight) -> list[QuantizedWeight] | None:
        """The integers of r, i, j, k, or None where the rows of a quaternion were not quantized alike."""
        by_part = self.by_part(weight.integers)
        columns = weight.integers.shape[1] // 4
        parts = [np.ascontiguousarray(p[:, :columns] if self.grouping == "blocked" else p[:, ::4]) for p in by_part]
        scale = weight.scale
        if scale.size > 1:
            scale = self.by_part(scale)
            if (scale != scale[0]).any():
                return None
            scale = scale[0]
        if min(int(part.min()) for part in parts) < -127:
            return None
        (matrix,) = OPERATORS["HamiltonMatrix"].meaning(Node(self.hamilton.name), *parts, grouping=self.grouping)
        if (matrix.reshape(by_part.shape) != by_part).any():
            return None
        bits = weight.bits
        if weight.exact_grid:
            # The grid's lowest value has no counterpart above, but a negated component needs one: components have fewer bits.
            low, high = min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)
            bits = next(k for k in range(2, 9) if -(2 ** (k - 1)) <= low and high < 2 ** (k - 1))
        return [QuantizedWeight(part, scale, bits, weight.exact_grid, weight.error) for part in parts]

    def write(self, graph: IntegerGraph, name: str, components: list[QuantizedWeight]) -> None:
        """Adds the components and the nodes that make the matrix ``name`` of them."""
        names = [graph.weight(part, weight) for part, weight in zip(self.hamilton.input, components, strict=True)]
        graph.node("HamiltonMatrix", names, [self.hamilton.output[0]], self.hamilton.name, grouping=self.grouping)
        if self.ordering is not None:
            graph.node(
                "GateRows",
                [self.hamilton.output[0]],
                [name],
                self.ordering.name,
                parts=int(attribute(self.ordering, "parts")),
                order=list(attribute(self.ordering, "order")),
            )


def shared_by_quaternion(context: Context, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values`` ``[N]`` of the rows of matrix ``name``; a quaternion's rows share the largest of theirs."""
    rows = QuaternionRows.of(context.floats, name)
    return values if rows is None else rows.shared(values)


def store_weight(context: Context, name: str, weight: QuantizedWeight) -> str:
    """Adds the matrix ``name`` of a layer, as components or signs where it is made of them; returns the int8 tensor's name."""
    rows = QuaternionRows.of(context.floats, name)
    if rows is not None and context.integers.storage == "compact":
        components = rows.components(weight)
        if components is not None:
            rows.write(context.integers, name, components)
            return name
    hadamard = HadamardSigns.of(weight)
    if hadamard is not None and context.integers.storage == "compact":
        hadamard.write(context.integers, name)
        return name
    return context.integers.weight(name, weight)


def weight_record(context: Context, weights: dict[str, QuantizedWeight]) -> dict[str, Any]:
    """What a layer's record says of its matrices: bits, trained numbers; of quaternions and signs, bytes in both storages."""
    parameters, bits, compact, expanded = 0, 0, 0, 0
    quaternion, block = False, 0
    for name, weight in weights.items():
        hadamard = HadamardSigns.of(weight)
        if hadamard is not None:
            block = hadamard.block
            parameters += hadamard.size
            bits = max(bits, 1)
            compact += hadamard.packed.nbytes
            expanded += _stored_bytes(weight)
            continue
        rows = QuaternionRows.of(context.floats, name)
        components = None if rows is None else rows.components(weight)
        kept = [weight] if components is None else components
        quaternion |= components is not None
        parameters += sum(part.integers.size for part in kept)
        bits = max(bits, kept[0].bits)
        compact += sum(_stored_bytes(part) for part in kept)
        expanded += _stored_bytes(weight)
    record: dict[str, Any] = {"weight_bits": bits, "parameters": parameters}
    if quaternion:
        record |= {"quaternion": True, "component_bytes": compact, "matrix_bytes": expanded}
    if block:
        record |= {"hadamard_block": block, "sign_bytes": compact, "matrix_bytes": expanded}
    return record


def _stored_bytes(weight: QuantizedWeight) -> int:
    """Two bits a weight, four, or eight."""
    stored = 2 if weight.bits <= 2 else 4 if weight.bits <= 4 else 8
    return -(-weight.integers.size * stored // 8)
