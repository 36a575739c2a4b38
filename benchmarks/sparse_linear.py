"""A product with a pruned matrix in NumPy, one thread: what is not zero alone, beside the dense matrix.

``python -m benchmarks.sparse_linear`` prints the table of docs/pruning.md.
"""

from __future__ import annotations

import numpy as np

from benchmarks.quaternion_linear import medians
from qdeploy.runtime.numeric import exact_matmul, product_bound, product_type
from qdeploy.runtime.sparse_product import SparseProduct, sparse_product_is_faster

SIZES = ((300, 784), (256, 4096), (256, 12544))
DENSITIES = (0.1, 0.05, 0.03, 0.02, 0.01)


def measure_numpy(outputs: int, inputs: int, density: float) -> dict[str, float]:
    """Median microseconds of the ``sparse`` and the ``dense`` product of one row of uint8 inputs with zero point 0."""
    generator = np.random.default_rng(outputs)
    weight = generator.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    weight[generator.random(weight.shape) >= density] = 0
    bound = product_bound(weight, 255)
    sparse = SparseProduct(weight, bound)
    transposed = np.ascontiguousarray(weight.T.astype(product_type(bound)))
    x = generator.integers(0, 256, (1, inputs)).astype(np.int32)
    if (sparse(x) != exact_matmul(x, transposed, bound)).any():
        message = f"the sparse product of [{outputs}, {inputs}] differs from the dense one"
        raise RuntimeError(message)
    return medians({"sparse": lambda: sparse(x), "dense": lambda: exact_matmul(x, transposed, bound)})


def main() -> None:
    """Prints times of the sparse product over those of the dense one; what the reference's rule takes has a star."""
    print(f"{'weights left':16}" + "".join(f"{f'{100 * density:g} %':>12}" for density in DENSITIES))
    for outputs, inputs in SIZES:
        cells = []
        for density in DENSITIES:
            found = measure_numpy(outputs, inputs, density)
            size = outputs * inputs
            taken = "*" if sparse_product_is_faster(1, size, round(density * size)) else " "
            cells.append(f"{found['sparse'] / found['dense']:11.2f}{taken}")
        print(f"{f'{outputs} x {inputs}':16}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
