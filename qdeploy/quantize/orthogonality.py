"""How far a recurrent weight is from an orthogonal matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orthogonality:
    """Distances of W from orthogonal matrices, all of them from its singular values s.

    Attributes:
        frobenius: the Frobenius norm of W W^T - I, the root of the sum of (s^2 - 1)^2.
        spectral: its spectral norm, the largest |s^2 - 1|.
        smallest, largest: the smallest and the largest s; both are 1 for an orthogonal W.
    """

    frobenius: float
    spectral: float
    smallest: float
    largest: float

    @property
    def deviation(self) -> float:
        """The largest |s - 1|: by how much one step may stretch or shrink a state."""
        return max(self.largest - 1, 1 - self.smallest)

    @classmethod
    def of(cls, weight: NDArray[Any]) -> Orthogonality:
        """Of W ``[H, H]``."""
        singular = np.linalg.svd(weight.astype(np.float64), compute_uv=False)
        off = singular**2 - 1
        return cls(
            frobenius=float(np.sqrt((off**2).sum())),
            spectral=float(np.abs(off).max()),
            smallest=float(singular.min()),
            largest=float(singular.max()),
        )
