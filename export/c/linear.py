"""Linear in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.product import MatrixProduct
from qdeploy.export.c.requantization import requantize_runs

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Linear")
def linear(site: Site) -> None:
    """One product and one requantization for each vector of x."""
    attributes = site.attributes
    x, y = site.input("x"), site.output("y")
    product = MatrixProduct.of(site, "weight", x, attributes["x_zero_point"])
    start = site.array("bias", product.start(site.constant("bias")), note="with what the zero point of x adds")
    accumulator = site.scratch("accumulator", "int32", product.size)
    readable = product.readable(site, x)
    site.comment = "y = clip(round((W (x - x_zero_point) + b) * multiplier / 2^shift) + y_zero_point)"
    with site.loop("row", site.rows(x)) as row:
        site.line(f"memcpy({accumulator}, {start}, {product.size} * sizeof *{accumulator});")
        site.line(product.call(accumulator, readable(site.at(x.name, row, product.inputs))))
        requantize_runs(
            site,
            site.at(y.name, row, product.outputs),
            y.tensor.dtype,
            accumulator,
            product.runs,
            multiplier=site.constant("multiplier"),
            shift=attributes["shift"],
            zero_point=attributes["y_zero_point"],
            low=attributes["low"],
            high=attributes["high"],
        )
