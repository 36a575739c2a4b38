"""RNN by LiteRT's own quantized operators: a step is one FULLY_CONNECTED of the state and the input side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.builtin import quantized
from qdeploy.export.tflite.byte_tensor import ByteTensor, new
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops.rounded_loop import input_copies

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["recurrent_rows"]

_LARGEST = 127
_EVERY = "every"


def recurrent_rows(site: Site) -> None:
    """The loop: GATHER of the step's input, CONCATENATION with the state, FULLY_CONNECTED, whose bounds are sigma.

    One operator has one zero point and one scale for both: that of the state. What this says wrongly of x stands in the bias. U
    is coarser than W by 2^input_shift: it stands in several columns of int8, and x is repeated before the loop.

    Raises:
        UnsupportedModelError: W times 2^recurrent_shift leaves int8.
    """
    attributes, code = site.attributes, site.code
    zero_point = int(attributes["h_zero_point"])
    weight, bias = _side_by_side(site)
    hidden = len(weight)
    rows = _repeated(code, site.rows("x"), input_copies(site.constant("input_weight"), attributes["input_shift"]))
    x = ByteTensor.of_int32(code, rows, zero_point).value
    variables = {"x": x, "h": ByteTensor.of_int32(code, site.state("h0"), zero_point).value}
    if site.has("y"):
        variables[_EVERY] = _zeros(site, code, hidden, zero_point)

    def step(inner: Code, now: Variables, number: Value) -> Variables:
        columns = (1, x.shape[1])
        x_now = new(inner, columns, zero_point)
        inner.subgraph.add_several("GATHER", [now["x"], number], [x_now], axis=0)
        both = new(inner, (1, weight.shape[1]), zero_point)
        inner.subgraph.add_several("CONCATENATION", [now["h"], x_now], [both], axis=1)
        h = quantized(site, "FULLY_CONNECTED", both, weight, bias, (1, hidden), code=inner, zero_point=zero_point)
        if _EVERY not in now:
            return {"h": h}
        place = inner.concatenate([number, inner.subgraph.constant([0])], 0)
        every = new(inner, now[_EVERY].shape, zero_point)
        inner.subgraph.add_several("DYNAMIC_UPDATE_SLICE", [now[_EVERY], h, place], [every])
        return {"h": h, _EVERY: every}

    last = run_steps(code, site.layer.name, x, variables, step)
    site.set_bytes("y_h", ByteTensor(last["h"], zero_point, last=False))
    if site.has("y"):
        site.set_bytes("y", ByteTensor(last[_EVERY], zero_point, last=False))


def _side_by_side(site: Site) -> tuple[IntArray, IntArray]:
    """int8 ``[H, H + copies * I]`` and int32 ``[H]``: W 2^recurrent_shift beside U 2^input_shift, and the bias."""
    attributes = site.attributes
    lifted = site.constant("recurrent_weight").astype(np.int64) << attributes["recurrent_shift"]
    if int(np.abs(lifted).max(initial=0)) > _LARGEST:
        raise UnsupportedModelError(
            f"node {site.layer.name} (RNN): W times 2^{attributes['recurrent_shift']} reaches {int(np.abs(lifted).max())}, and "
            "LiteRT's own operators take weights up to 127; export again with --tflite-kernels portable."
        )
    driven = site.constant("input_weight").astype(np.int64) << attributes["input_shift"]
    copies = input_copies(site.constant("input_weight"), attributes["input_shift"])
    # floor((v + 0) / n) + ... + floor((v + n - 1) / n) = v, and each is at most the largest v over n, rounded up.
    parts = [(driven + copy) // copies for copy in range(copies)]
    weight = np.concatenate([lifted, *parts], axis=1).astype(np.int8)
    offset = int(attributes["h_zero_point"]) - int(attributes["x_zero_point"])
    bias = site.constant("bias").astype(np.int64) + driven.sum(axis=1) * offset
    if np.abs(bias).max() >= 2**31:
        raise UnsupportedModelError(
            f"node {site.layer.name} (RNN): its bias with what the zero points add leaves int32; export again with "
            "--tflite-kernels portable."
        )
    return weight, bias.astype(np.int32)


def _repeated(code: Code, x: Value, copies: int) -> Value:
    """``[T, I]`` as ``[T, copies * I]``."""
    return x if copies == 1 else code.concatenate([x] * copies, 1)


def _zeros(site: Site, code: Code, hidden: int, zero_point: int) -> Value:
    """int8 ``[T, H]``, for every state: as long as x is at run time."""
    column = code.multiply(code.slice(site.rows("x"), [0, 0], [-1, 1]), 0)
    zeros = code.add(column, code.subgraph.constant(np.zeros((1, hidden)), np.int32))
    return ByteTensor.of_int32(code, zeros, zero_point).value
