"""Weights of which many are zero are stored without the zeros, where that takes fewer bytes of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.weights import QuantizedWeight
from qdeploy.runtime.ops import DOMAIN
from qdeploy.runtime.ops.sparse_weights import Packed, pack_sparse

__all__ = ["BODY_BYTES", "store_sparse"]

BODY_BYTES = {"map": 1310, "gaps": 1580}
"""What each form's body adds to the file, once for all weights that have it."""

_FORM_SETS: tuple[tuple[str, ...], ...] = ((), ("map",), ("gaps",), ("map", "gaps"))


@dataclass(frozen=True)
class _Choice:
    """A weight, and what each form of it takes of the file, bodies aside.

    Attributes:
        name: of the int8 tensor that layers read.
        dense: the name of its initializer now.
        dense_bytes: with the node that unpacks it, if there is one.
        sparse: by form, the streams and the bytes with their node.
    """

    name: str
    weight: QuantizedWeight
    dense: str
    dense_bytes: int
    sparse: dict[str, tuple[Packed, int]]

    def best(self, forms: Sequence[str]) -> str | None:
        """The smallest of ``forms``, or ``None`` where the dense one is no larger."""
        sizes: dict[str | None, int] = {None: self.dense_bytes, **{form: self.sparse[form][1] for form in forms}}
        return min(sizes, key=sizes.__getitem__)

    def bytes(self, forms: Sequence[str]) -> int:
        """Of the best form."""
        best = self.best(forms)
        return self.dense_bytes if best is None else self.sparse[best][1]


def store_sparse(graph: IntegerGraph) -> None:
    """Replaces weights by the operator SparseWeights where that makes the file smaller, its bodies counted.

    Requires: all layers are lowered.
    Ensures: every layer reads the same integers under the same name as before.
    """
    choices = _choices(graph)

    def total(forms: tuple[str, ...]) -> int:
        return sum(choice.bytes(forms) for choice in choices) + sum(BODY_BYTES[form] for form in forms)

    forms = min(_FORM_SETS, key=total)
    for choice in choices:
        best = choice.best(forms)
        if best is not None:
            _replace(graph, choice, choice.sparse[best][0])


def _choices(graph: IntegerGraph) -> list[_Choice]:
    initializers = {tensor.name: tensor for tensor in graph.initializers}
    unpacking = {node.output[0]: node for node in graph.nodes if node.op_type == "UnpackWeights"}
    choices = []
    for name, weight in graph.weights.items():
        # Without zeros there is nothing to gain: a place takes bits of its own.
        if np.count_nonzero(weight.integers) == weight.integers.size:
            continue
        node = unpacking.get(name)
        dense = name if node is None else node.input[0]
        sparse = {}
        for form in BODY_BYTES:
            packed = pack_sparse(weight.integers, form)
            tensors, made = _sparse(name, weight, packed)
            sparse[form] = (packed, sum(tensor.ByteSize() for tensor in tensors) + made.ByteSize())
        dense_bytes = initializers[dense].ByteSize() + (0 if node is None else node.ByteSize())
        choices.append(_Choice(name, weight, dense, dense_bytes, sparse))
    return choices


def _sparse(
    name: str, weight: QuantizedWeight, packed: Packed
) -> tuple[tuple[onnx.TensorProto, onnx.TensorProto], onnx.NodeProto]:
    """Both initializers, and the node that makes the weight of them."""
    tensors = (
        onnx.numpy_helper.from_array(packed.places, f"{name}.places"),
        onnx.numpy_helper.from_array(packed.values, f"{name}.values"),
    )
    node = onnx.helper.make_node(
        "SparseWeights",
        [tensor.name for tensor in tensors],
        [name],
        name=f"{name}.expand",
        domain=DOMAIN,
        gap_bits=packed.gap_bits,
        value_bits=packed.value_bits,
        count=packed.count,
        shape=list(weight.integers.shape),
    )
    return tensors, node


def _replace(graph: IntegerGraph, choice: _Choice, packed: Packed) -> None:
    name = choice.name
    graph.initializers = [tensor for tensor in graph.initializers if tensor.name != choice.dense]
    graph.nodes = [node for node in graph.nodes if name not in node.output]
    bits = graph.constants_info.pop(choice.dense)["bits"]
    graph.constant(f"{name}.places", packed.places, bits=packed.gap_bits or 1)
    graph.constant(f"{name}.values", packed.values, bits=bits, scale=choice.weight.scale)
    _, node = _sparse(name, choice.weight, packed)
    # It reads constants alone: in front of whoever reads it.
    graph.nodes.insert(0, node)
