"""QuaternionAffine in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.elementwise import Rounding, centred, reach
from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import index

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("QuaternionAffine")
def quaternion_affine(site: Site) -> None:
    """A 4 x 4 matrix and a constant for each quaternion channel, one rounding; the channels come last, part by part."""
    x, y = site.input("x"), site.output("y")
    channels = x.shape[-1] // 4
    zero_point = site.attributes["x_zero_point"]
    rows = np.abs(site.constant("matrix").astype(np.int64)).sum(axis=2)
    largest = reach(x, zero_point) * rows + np.abs(site.constant("addend").astype(np.int64)).T
    rounding = Rounding.of(site, int(largest.max()))
    matrix, addend = (site.array(name, site.constant(name)) for name in ("matrix", "addend"))
    site.comment = (
        "y_c = clip(round((sum over d of M[q][c][d] (x_d - x_zero_point) + addend[c][q]) / 2^shift) + y_zero_point)"
    )
    with site.loop("place", site.rows(x)) as place, site.loop("q", channels) as q:
        site.line(f"const {x.type} *v = {index(x.name, (place, 4 * channels), (q, 1))};")
        site.line(f"const int16_t *m = {index(matrix, (q, 16))};")
        with site.loop("c", 4) as c:
            products = " + ".join(f"m[{c} * 4 + {d}] * {centred(f'v[{d * channels}]', zero_point)}" for d in range(4))
            site.line(f"const int32_t sum = {products} + {addend}[{c} * {channels} + {q}];")
            target = index(y.name, (place, 4 * channels), (c, channels), (q, 1))
            site.line(f"*({target}) = {rounding.text(y, 'sum')};")
