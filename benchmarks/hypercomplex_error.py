"""The error of matrices over a learned algebra, as components and as a real matrix.

``python -m benchmarks.hypercomplex_error`` prints the table of docs/hypercomplex.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize import load_recipe
from qdeploy.quantize.hypercomplex import Ends, quantize_algebra
from qdeploy.quantize.tensor_type import activation_type
from qdeploy.quantize.weights import quantize_weight
from qdeploy.runtime.ops import OPERATORS, Node

ROWS, COLUMNS = 128, 256


def errors(n: int, bits: int) -> tuple[float, float]:
    """Of components of ``bits`` and of the real matrix: root mean squares relative to that of the matrix."""
    generator = np.random.default_rng(0)
    a = generator.uniform(-1, 1, (n, n, n)).astype(np.float32)
    s = generator.uniform(-1, 1, (n, ROWS // n, COLUMNS // n)).astype(np.float32)
    recipe = load_recipe("default").changed(weight_bits=bits)
    real = sum(np.kron(first, second) for first, second in zip(a.astype(np.float64), s.astype(np.float64), strict=True))
    found = quantize_algebra(a, s, recipe, Ends(activation_type(-1, 1, 8), activation_type(-1, 1, 8), None))
    (matrix,) = OPERATORS["HypercomplexMatrix"].meaning(
        Node("matrix"),
        found.algebra,
        found.components.integers.reshape(s.shape),
        found.factors.reshape(-1),
        grouping="blocked",
        output_grouping="blocked",
        shift=found.shift,
    )
    direct = quantize_weight(real.astype(np.float32), recipe, "matrix", granularity="per_channel")
    return (
        _relative(matrix * found.scale.reshape(-1, 1), real),
        _relative(direct.integers * direct.scale[:, None], real),
    )


def _relative(found: NDArray[np.float64], real: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(found - real).mean() / np.square(real).mean()))


if __name__ == "__main__":
    print(f"{'n':>2} {'bits of s':>9} {'components':>10} {'real matrix':>11}")
    for weight_bits in (8, 4):
        for components in (2, 4, 8, 16):
            compact, whole = errors(components, weight_bits)
            print(f"{components:2} {weight_bits:9} {100 * compact:8.2f} % {100 * whole:9.2f} %")
