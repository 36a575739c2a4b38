"""RNN in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.product import MatrixProduct, Run
from qdeploy.export.c.requantization import requantize_runs

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site
    from qdeploy.runtime.numeric import IntArray


@c_operator("RNN")
def rnn(site: Site) -> None:
    """One step, or all steps of a whole sequence: two products into one accumulator, sigma, requantization."""
    attributes = site.attributes
    x, h = site.input("x"), site.state("h")
    recurrent = MatrixProduct.of(site, "recurrent_weight", h, attributes["h_zero_point"])
    driven = MatrixProduct.of(site, "input_weight", x, attributes["x_zero_point"])
    # Both products may add to it, each with the padding of its own rows.
    accumulator = site.scratch("accumulator", "int32", max(recurrent.size, driven.size))
    y = site.output("y") if site.whole and site.has("y") else None
    readable = driven.readable(site, x)
    site.comment = (
        "a = W (h - h_zero_point) + U (x - x_zero_point) + b; "
        "h = clip(round(sigma(a) * multiplier / 2^shift) + h_zero_point)"
    )
    with site.steps_loop() as step:
        _accumulate(site, recurrent, driven, accumulator, h.name, readable(site.at(x.name, step, x.entries)))
        _finish(site, recurrent, accumulator, h)
        if y is not None:
            site.line(f"memcpy({site.at(y.name, step, h.entries)}, {h.name}, {h.entries} * sizeof *{h.name});")


def _accumulate(site: Site, recurrent: MatrixProduct, driven: MatrixProduct, accumulator: str, h: str, x: str) -> None:
    """accumulator = (W (h - z_h)) 2^r + u + b, where u is U (x - z_x) at the accumulator's scale."""
    attributes = site.attributes
    recurrent_shift, input_shift = attributes["recurrent_shift"], attributes["input_shift"]
    rest = recurrent.rest * 2**recurrent_shift + site.constant("bias")
    if site.has("input_multiplier") or driven.runs != recurrent.runs or (recurrent_shift and input_shift):
        _product(site, recurrent, accumulator, h, recurrent_shift, _wrapped(recurrent.arranged(rest)), "bias")
        _add_input_part(site, recurrent, driven, accumulator, x)
        return
    # One accumulator serves both products: first the one that is shifted.
    bias = _wrapped(recurrent.arranged(rest + driven.rest * 2**input_shift))
    # A sparse product has no padding, tiles have: the larger of both is written.
    bias = np.pad(bias, (0, max(0, driven.size - bias.size)))
    if recurrent_shift:
        _product(site, recurrent, accumulator, h, recurrent_shift, bias, "bias")
        site.line(driven.call(accumulator, x))
    else:
        _product(site, driven, accumulator, x, input_shift, bias, "bias")
        site.line(recurrent.call(accumulator, h))


def _product(
    site: Site, product: MatrixProduct, accumulator: str, vector: str, shift: int, addend: IntArray, hint: str
) -> None:
    """accumulator = product * 2^shift + addend."""
    name = site.array(hint, addend, note="with what the zero points add")
    if not shift:
        site.line(f"memcpy({accumulator}, {name}, {addend.size} * sizeof *{accumulator});")
        site.line(product.call(accumulator, vector))
        return
    site.line(f"memset({accumulator}, 0, {addend.size} * sizeof *{accumulator});")
    site.line(product.call(accumulator, vector))
    site.line(f"{site.kernel('shift_and_add')}({accumulator}, {shift}, {name}, {addend.size});")


def _add_input_part(site: Site, recurrent: MatrixProduct, driven: MatrixProduct, accumulator: str, x: str) -> None:
    """accumulator += u, which has a requantization, a shift or a layout of its own."""
    input_shift = site.attributes["input_shift"]
    part = site.scratch("input_part", "int32", driven.size)
    if site.has("input_multiplier"):
        _product(site, driven, part, x, 0, _wrapped(driven.arranged(driven.rest)), "input_rest")
        multiplier = site.constant("input_multiplier")
        requantize_runs(
            site,
            part,
            np.dtype(np.int32),
            part,
            [Run(0, driven.size, 0)],
            multiplier=driven.arranged(multiplier) if multiplier.size > 1 else multiplier,
            shift=input_shift,
            zero_point=0,
            low=-(2**31),
            high=2**31 - 1,
        )
    else:
        rest = driven.arranged(driven.rest * 2**input_shift)
        _product(site, driven, part, x, input_shift, _wrapped(rest), "input_rest")
    for run in driven.runs:
        for other in recurrent.runs:
            first, last = max(run.first, other.first), min(run.first + run.count, other.first + other.count)
            if first < last:
                to, of = other.place + first - other.first, run.place + first - run.first
                site.line(
                    f"{site.kernel('add_s32')}({accumulator}{f' + {to}' if to else ''}, {part}{f' + {of}' if of else ''}, "
                    f"{last - first});"
                )


def _finish(site: Site, recurrent: MatrixProduct, accumulator: str, h: Operand) -> None:
    """h = the requantization of sigma(accumulator)."""
    attributes = site.attributes
    activation, multiplier = attributes["activation"], site.constant("multiplier")
    if activation == "modrelu":
        name = site.array("modrelu_bias", recurrent.arranged(site.constant("modrelu_bias")))
        site.line(f"{site.kernel('modrelu')}({accumulator}, {name}, {recurrent.size});")
    # relu needs no statement of its own: the contract has its lower bound at the zero point.
    target, dtype = h.name, h.tensor.dtype
    zero_point, low, high = attributes["h_zero_point"], attributes["low"], attributes["high"]
    if activation == "table":
        entries = site.constant("table")
        target, dtype = site.scratch("index", "int16", h.entries), np.dtype(np.int16)
        zero_point, low, high = entries.size // 2, 0, entries.size - 1
    requantize_runs(
        site,
        target,
        dtype,
        accumulator,
        recurrent.runs,
        multiplier=multiplier,
        shift=attributes["shift"],
        zero_point=zero_point,
        low=low,
        high=high,
    )
    if activation == "table":
        table = site.array("table", entries)
        with site.loop("n", h.entries) as unit:
            site.line(f"{h.name}[{unit}] = {table}[{target}[{unit}]];")


def _wrapped(
    values: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Modulo 2^32, as the kernels count."""
    return values.astype(np.uint32).view(np.int32)
