"""Embedding in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.elementwise import Rounding
from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import index
from qdeploy.runtime.numeric import requantize

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Embedding")
def embedding(site: Site) -> None:
    """Rows of a table of outputs where these take a byte; else of the weights, which are as small, and rounded when read.

    An index outside of the table, which sessions refuse, reads its last row: no memory beyond the table is read.
    """
    indices, y = site.input("indices"), site.output("y")
    weight, multiplier = site.constant("weight"), site.constant("multiplier")
    attributes = site.attributes
    rows, units = weight.shape
    site.comment = "y = clip(round(weight[i] * multiplier / 2^shift) + y_zero_point), i = indices"
    with site.loop("n", site.count(indices)) as n:
        found = f"{indices.name}[{n}]"
        site.line(f"const size_t i = {found} < 0 || {found} >= {rows} ? {rows - 1} : (size_t){found};")
        if y.tensor.dtype.itemsize == 1:
            bounds = (attributes["shift"], attributes["y_zero_point"], attributes["low"], attributes["high"])
            values = requantize(weight.astype(np.int64), multiplier[:, None], *bounds).astype(y.tensor.dtype)
            table = site.array("table", values, note=f"{rows} x {units} outputs")
            site.line(f"memcpy({index(y.name, (n, units))}, {table} + i * {units}, {units} * sizeof *{y.name});")
        else:
            table = site.array("weight", weight, note=f"{rows} x {units} weights of 8 bits")
            factors = site.array("multiplier", multiplier)
            largest = np.abs(weight.astype(np.int64) * multiplier[:, None]).max()
            rounding = Rounding.of(site, int(largest))
            with site.loop("k", units) as k:
                value = f"{rounding.cast}{table}[i * {units} + {k}] * {factors}[{'i' if multiplier.size > 1 else 0}]"
                site.line(f"*({index(y.name, (n, units), (k, 1))}) = {rounding.text(y, value)};")
