"""How the weights of an integer model are stored: densely, packed, or without their zeros."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from qdeploy.runtime.ops import DOMAIN, OPERATORS, Node, operator_name

__all__ = ["WeightStorage", "weight_storage"]


@dataclass(frozen=True)
class WeightStorage:
    """One weight tensor, or one of a quaternion layer's components.

    Attributes:
        name: of the int8 tensor that layers read.
        weights: how many there are.
        nonzero: how many of them are not 0.
        bytes: what the file keeps of them.
        dense_bytes: what they would take with their zeros, packed as their bits allow.
        form: ``int8``, ``packed``, ``bit map`` or ``gaps``.
    """

    name: str
    weights: int
    nonzero: int
    bytes: int
    dense_bytes: int
    form: str

    @property
    def density(self) -> float:
        """The part of the weights that is not 0."""
        return self.nonzero / self.weights

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "density": round(self.density, 6)}


def weight_storage(model: onnx.ModelProto) -> tuple[WeightStorage, ...]:
    """Every weight of ``model`` that is stored as int8, by UnpackWeights or by SparseWeights, in the graph's order.

    Requires: the operators' contracts hold.
    """
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {
        name: WeightStorage(name, array.size, int(np.count_nonzero(array)), array.nbytes, array.nbytes, "int8")
        for name, array in tensors.items()
        if array.dtype == np.int8
    }
    for node in model.graph.node:
        operator = operator_name(node.op_type)
        if node.domain != DOMAIN or operator not in ("UnpackWeights", "SparseWeights"):
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        streams = [tensors[name] for name in node.input]
        (weight,) = OPERATORS[operator].meaning(Node(node.name), *streams, **attributes)
        stored = sum(stream.nbytes for stream in streams)
        dense, form = stored, "packed"
        if operator == "SparseWeights":
            dense, form = (
                _dense_bytes(weight.size, attributes["value_bits"]),
                "gaps" if attributes["gap_bits"] else "bit map",
            )
        name = node.output[0]
        found[name] = WeightStorage(name, weight.size, int(np.count_nonzero(weight)), stored, dense, form)
    return tuple(found.values())


def _dense_bytes(weights: int, value_bits: int) -> int:
    """As ``IntegerGraph.weight`` packs: 2, 4 or 8 bits."""
    return math.ceil(weights * next(bits for bits in (2, 4, 8) if value_bits <= bits) / 8)
