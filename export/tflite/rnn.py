"""RNN for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.builtin import is_builtin
from qdeploy.export.tflite.builtin_rnn import recurrent_rows
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.hadamard_product import HadamardProduct
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.export.tflite.product import MatrixProduct
from qdeploy.export.tflite.requantization import folded_constant, requantize
from qdeploy.export.tflite.sparse_product import SparseProduct
from qdeploy.export.tflite.states import Recorder
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.runtime.accumulator import recurrent_reach
from qdeploy.runtime.numeric import product_bound

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value

_Product: TypeAlias = "MatrixProduct | HadamardProduct | SparseProduct"


@tflite_operator("RNN")
def rnn(site: Site) -> None:
    """U x of all steps before the loop; in it one product, sigma and a requantization."""
    if is_builtin(site):
        recurrent_rows(site)
        return
    attributes, code = site.attributes, site.code
    kind = site.tensor("h0").dtype if site.layer.inputs["h0"] in site.graph.tensors else site.constant("h0").dtype
    recurrent = _recurrent(site, kind)
    bound = _bound(site)
    early = _early(site, bound)
    lowest = 0 if attributes["activation"] == "table" else attributes["low"]
    drive = _drive(site, recurrent, early or 0)
    recorder = Recorder.of(site, code, drive)
    tables = _tables(site, drive)
    digits = recurrent.digits.split(code, site.state("h0"))
    variables = {
        "drive": drive,
        **tables.start,
        **recorder.start,
        **{f"digit{n}": digit for n, digit in enumerate(digits)},
    }

    def step(inner: Code, now: Variables, number: Value) -> Variables:
        held = [now[f"digit{n}"] for n in range(len(digits))]
        product = inner.multiply(recurrent.of_digits(inner, held), 1 << attributes["recurrent_shift"])
        accumulator = inner.add(
            product, inner.gather(now["drive"], number), rectified=early is not None and lowest == 0
        )
        if attributes["activation"] == "table":
            index = _index(site, inner, accumulator, bound, folded=early is not None)
            h = tables.entries(inner, now, "table", index)
        else:
            h = _finish(site, inner, accumulator, bound, folded=early is not None)
        split = recurrent.digits.split(inner, h)
        return {**recorder.record(inner, now, number, h), **{f"digit{n}": digit for n, digit in enumerate(split)}}

    last = run_steps(code, site.layer.name, drive, variables, step)
    site.set("y_h", recurrent.digits.joined(code, [last[f"digit{n}"] for n in range(len(digits))]))
    recorder.finish(site, last)


def _recurrent(site: Site, kind: np.dtype[Any]) -> _Product:
    """W (h - h_zero_point)."""
    attributes, weight = site.attributes, site.constant("recurrent_weight")
    zero_point = attributes["h_zero_point"]
    return (
        SparseProduct.of(weight, zero_point)
        or HadamardProduct.of(weight, kind, zero_point, attributes["low"], attributes["high"])
        or MatrixProduct.of(weight, kind, zero_point)
    )


def _early(site: Site, bound: int) -> int | None:
    """What the input's part can hold of the requantization, where nothing but a shift stands between the two."""
    attributes = site.attributes
    if attributes["activation"] == "modrelu":
        return None
    table = attributes["activation"] == "table"
    zero_point = site.constant("table").size // 2 if table else attributes["h_zero_point"]
    return folded_constant(site.constant("multiplier"), attributes["shift"], zero_point, bound)


def _drive(site: Site, recurrent: _Product, early: int) -> Value:
    """int32 ``[T, H]``: what does not depend on the state, all that W's digits leave out too."""
    attributes, code = site.attributes, site.code
    x, kind = site.rows("x"), site.tensor("x").dtype
    driven = MatrixProduct.of(site.constant("input_weight"), kind, attributes["x_zero_point"])
    bias = site.constant("bias").astype(np.int64) + (recurrent.rest << attributes["recurrent_shift"]) + early
    product = driven.of_digits(code, driven.digits.split(code, x))
    shift = attributes["input_shift"]
    if site.has("input_multiplier"):
        whole = code.add(product, driven.rest)
        largest = max(attributes["x_zero_point"], 255 - attributes["x_zero_point"]) if kind == np.uint8 else 2**15
        bound = product_bound(site.constant("input_weight"), largest)
        requantized = requantize(
            code, whole, site.constant("input_multiplier"), shift, 0, -(2**31), 2**31 - 1, bound=bound
        )
        return code.add(requantized, bias)
    return code.add(code.multiply(product, 1 << shift), (driven.rest << shift) + bias)


def _bound(site: Site) -> int:
    attributes = site.attributes
    low, high, zero_point = attributes["low"], attributes["high"], attributes["h_zero_point"]
    reach = recurrent_reach(
        recurrent_weight=site.constant("recurrent_weight"),
        input_weight=site.constant("input_weight"),
        bias=site.constant("bias"),
        state=max(abs(low - zero_point), abs(high - zero_point)),
        x=max(attributes["x_zero_point"], 255 - attributes["x_zero_point"])
        if site.tensor("x").dtype == np.uint8
        else 2**15,
        recurrent_shift=attributes["recurrent_shift"],
        input_shift=attributes["input_shift"],
        input_multiplier=site.constant("input_multiplier") if site.has("input_multiplier") else None,
        modrelu_bias=site.constant("modrelu_bias") if site.has("modrelu_bias") else None,
    )
    return min(int(np.max(reach)), 2**31 - 1)


def _tables(site: Site, drive: Value) -> LookUps:
    """The activation's table, where it is one."""
    used = {"table": Table.of(site, "table")} if site.attributes["activation"] == "table" else {}
    return LookUps(site.code, drive, used)


def _index(site: Site, code: Code, accumulator: Value, bound: int, *, folded: bool) -> Value:
    """Where the activation's table has one step's state."""
    size, shift = site.constant("table").size, site.attributes["shift"]
    return requantize(
        code, accumulator, site.constant("multiplier"), shift, size // 2, 0, size - 1, bound=bound, folded=folded
    )


def _finish(site: Site, code: Code, accumulator: Value, bound: int, *, folded: bool) -> Value:
    """sigma and the requantization of one step's accumulator: the state as int32."""
    attributes = site.attributes
    if attributes["activation"] == "modrelu":
        sign = code.clip(accumulator, -1, 1)
        size = code.multiply(accumulator, sign)
        shrunk = code.maximum(code.add(size, site.constant("modrelu_bias")), 0)
        accumulator = code.multiply(sign, shrunk)
    return requantize(
        code,
        accumulator,
        site.constant("multiplier"),
        attributes["shift"],
        attributes["h_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=bound,
        folded=folded,
    )
