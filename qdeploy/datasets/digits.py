"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn brings along (UCI, Alpaydin and Kaynak)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import MissingRequirementError

__all__ = ["TRAIN_SAMPLES", "load_digits"]

TRAIN_SAMPLES = 1437


def load_digits(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images [N, 64], value/16 in row order, and classes [N]: the first 1,437 samples or the last 360.

    Raises:
        MissingRequirementError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load_from_sklearn
    except ImportError as error:
        raise MissingRequirementError(
            "the digits come with scikit-learn, which is not installed: pip install 'qdeploy[torch]'"
        ) from error
    values, classes = load_from_sklearn(return_X_y=True)
    rows = slice(None, TRAIN_SAMPLES) if split == "train" else slice(TRAIN_SAMPLES, None)
    return values[rows].astype(np.float32) / np.float32(16), classes[rows].astype(np.int64)
