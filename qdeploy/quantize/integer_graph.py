"""Building the integer model: nodes of the domain ``qdeploy``, their constants, and what is known of every tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight
from qdeploy.runtime.ops import DOMAIN
from qdeploy.runtime.ops.unpack_weights import pack_weights


@dataclass(frozen=True)
class State:
    """A recurrent layer's state among the graph's inputs and outputs."""

    input: str
    output: str
    type: TensorType
    size: int


@dataclass
class IntegerGraph:
    """The model under construction.

    Attributes:
        storage: ``compact`` keeps quaternion components, ``expanded`` writes real matrices.
        whole_sequences: whether no state goes on from one call to the next.
        types: the integer type of every activation, by tensor name (names are those of the float model).
        layers: one record per layer, for the manifest and for ``inspect``.
        weights: by the name of the int8 tensor, how ``store_sparse`` finds those that are mostly zero.
        constants_info: of weights and biases, their scales and bits, for the manifest.
        activation_bytes: the most bytes of activations of one sample at once, None where that is not said.
    """

    storage: str = "compact"
    whole_sequences: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    constants_info: dict[str, dict[str, Any]] = field(default_factory=dict)
    activation_bytes: int | None = None

    def constant(self, name: str, value: NDArray[Any], *, bits: int, scale: NDArray[np.float64] | None = None) -> str:
        """Adds an initializer once; ``scale`` and ``bits`` go to the manifest."""
        if name in self.constants_info:
            return name
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
        self.constants_info[name] = {
            "dtype": value.dtype.name,
            "scale": None if scale is None else (float(scale[0]) if scale.size == 1 else [float(s) for s in scale]),
            "zero_point": 0,
            "bits": bits,
        }
        return name

    def weight(self, name: str, weight: QuantizedWeight) -> str:
        """Adds a weight, packed where four bits or fewer suffice, and returns the name of the int8 tensor.

        Sharing: a weight that was added before is not added again.
        """
        self.weights.setdefault(name, weight)
        stored = 2 if weight.bits <= 2 else 4 if weight.bits <= 4 else 8
        if stored == 8:
            return self.constant(name, weight.integers, bits=weight.bits, scale=weight.scale)
        packed = f"{name}.packed"
        if packed not in self.constants_info:
            self.constant(packed, pack_weights(weight.integers, stored), bits=weight.bits, scale=weight.scale)
            self.node(
                "UnpackWeights", [packed], [name], f"{name}.unpack", bits=stored, shape=list(weight.integers.shape)
            )
        return name

    def node(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any) -> None:
        """Adds a node of the domain ``qdeploy``; trailing absent inputs are dropped."""
        kept = list(inputs)
        while kept and not kept[-1]:
            kept.pop()
        self.nodes.append(onnx.helper.make_node(operator, kept, list(outputs), name=name, domain=DOMAIN, **attributes))

    def standard(self, node: onnx.NodeProto) -> None:
        """Takes over a layout node as it is."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        self.nodes.append(copy)

    def fresh(self, wanted: str) -> str:
        """``wanted``, or with a number behind it where that name is taken by a tensor, an input or a constant."""
        taken = {name for node in self.nodes for name in node.output} | set(self.types) | set(self.constants_info)
        taken |= {state.input for state in self.states} | {state.output for state in self.states}
        return (
            wanted
            if wanted not in taken
            else next(f"{wanted}_{n}" for n in range(2, 10**6) if f"{wanted}_{n}" not in taken)
        )


def accumulator_bits(largest: int) -> int:
    """How many bits, sign included, hold every integer up to ``largest`` in absolute value."""
    return max(1, math.ceil(math.log2(largest + 1)) + 1) if largest else 1
