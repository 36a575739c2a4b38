"""Linear for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.builtin import fully_connected, is_builtin
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.product import MatrixProduct
from qdeploy.export.tflite.requantization import requantize
from qdeploy.runtime.numeric import product_bound

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Linear")
def linear(site: Site) -> None:
    """One product, one addition, one requantization; FULLY_CONNECTED where the rule of its rounding is LiteRT's."""
    if is_builtin(site):
        fully_connected(site)
        return
    attributes, code = site.attributes, site.code
    rows, kind = site.rows("x"), site.tensor("x").dtype
    weight, bias = site.constant("weight"), site.constant("bias").astype("int64")
    product = MatrixProduct.of(weight, kind, attributes["x_zero_point"])
    accumulator = code.add(product.of_digits(code, product.digits.split(code, rows)), product.rest + bias)
    largest = 255 if kind.name == "uint8" else 2**15
    y = requantize(
        code,
        accumulator,
        site.constant("multiplier"),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=min(product_bound(weight, largest) + int(abs(bias).max()), 2**31 - 1),
    )
    site.set("y", y)
