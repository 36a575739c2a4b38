"""LSTM8x8x16 for LiteRT: the operator that it has built in, UNIDIRECTIONAL_SEQUENCE_LSTM.

The operator keeps its states in variable tensors, which it finds and leaves there. An operator before it writes the states
that are given into them, so that calls do not depend on each other, and one behind it reads the cell state that is left.
That one takes its index from the operator's result: nothing may move it before the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.schema import ELEMENT_TYPES
from qdeploy.runtime.ops.lstm_8x8x16 import GATE_BITS, H_ZERO_POINT, PRE_ACTIVATION_BITS

if TYPE_CHECKING:
    from typing import Any

    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Subgraph, Value
    from qdeploy.runtime.numeric import IntArray

_OFFSET = 128
"""LiteRT's int8 is the contract's uint8 less this."""

_TANH = 4
"""ActivationFunctionType.TANH."""

_GATES = "ifgo"


@tflite_operator("LSTM8x8x16")
def lstm_8x8x16(site: Site) -> None:
    """Scales that are powers of two, and those of the weights, make the multipliers that the contract has, to the bit."""
    code, attributes = site.code, site.attributes
    graph = code.subgraph
    state_scale = 2.0 ** (attributes["output_shift"] - 2 * GATE_BITS)
    cell_scale = 2.0 ** (attributes["cell_integer_bits"] - GATE_BITS)
    rows, inputs = site.rows("x"), site.tensor("x").shape[-1]
    x = code.reshape(_moved(site, rows, -_OFFSET), (rows.shape[0], 1, inputs))
    x8 = _Scaled(1.0, attributes["x_zero_point"] - _OFFSET).cast(graph, x, np.int8)
    state = _Scaled(state_scale, H_ZERO_POINT - _OFFSET)
    h = state.cast(graph, _moved(site, site.state("h0"), -_OFFSET), np.int8, variable=True)
    c = _Scaled(cell_scale).cast(graph, site.state("c0"), np.int16, variable=True)

    given = _factors(site, "input") * 2.0**-PRE_ACTIVATION_BITS
    recalled = _factors(site, "recurrent") * 2.0**-PRE_ACTIVATION_BITS / state_scale
    pre_activation = _Scaled(2.0**-PRE_ACTIVATION_BITS)
    hidden = h.shape[-1]
    y = state.tensor(graph, np.int8, (rows.shape[0], 1, hidden))
    graph.append(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [
            x8,
            *_of_gates(graph, site.constant("input_weight"), given),
            *_of_gates(graph, site.constant("recurrent_weight"), recalled),
            *[None] * 3,
            *_of_gates(graph, site.constant("bias"), given),
            *[None] * 2,
            h,
            c,
            *[None] * 4,
        ],
        [y],
        {"fused_activation": _TANH, "time_major": 1},
        [
            *(pre_activation.tensor(graph, np.int16, (1,), f"{gate}") for gate in _GATES),
            state.tensor(graph, np.int8, (1,), "h"),
        ],
    )
    first = code.cast(code.slice(y, [0, 0, 0], [1, 1, 1]), np.int32)
    behind = code.reshape(code.multiply(first, 0), (1,))
    site.set("y", _moved(site, code.cast(y, np.int32), _OFFSET))
    site.set("y_h", _moved(site, code.cast(code.gather(h, behind), np.int32), _OFFSET))
    site.set("y_c", code.cast(code.gather(c, behind), np.int32))


@dataclass(frozen=True)
class _Scaled:
    """Tensors of one scale."""

    scale: float
    zero_point: int = 0

    def tensor(
        self, graph: Subgraph, dtype: Any, shape: tuple[int | None, ...], name: str = "", *, variable: bool = False
    ) -> Value:
        """A new one."""
        return graph.tensor(name, dtype, shape, scale=self.scale, zero_point=self.zero_point, variable=variable)

    def cast(self, graph: Subgraph, x: Value, dtype: Any, *, variable: bool = False) -> Value:
        """One with the integers of ``x``."""
        result = self.tensor(graph, dtype, x.shape, variable=variable)
        types = {"in_type": ELEMENT_TYPES[x.dtype.name], "out_type": ELEMENT_TYPES[result.dtype.name]}
        graph.add_several("CAST", [x], [result], **types)
        return result


def _moved(site: Site, x: Value, offset: int) -> Value:
    return site.code.add(x, offset)


def _factors(site: Site, which: str) -> IntArray:
    """The real factors of the four gates: multiplier / 2^shift, exact in single precision."""
    factors: IntArray = site.constant(f"{which}_multiplier") / 2.0 ** site.attributes[f"{which}_shift"]
    return factors


def _of_gates(graph: Subgraph, values: IntArray, scales: IntArray) -> list[Value]:
    """The parts of the four gates, each with its scale."""
    parts = np.split(values, len(_GATES))
    return [graph.constant(part, part.dtype, scale=float(scale)) for part, scale in zip(parts, scales, strict=True)]
