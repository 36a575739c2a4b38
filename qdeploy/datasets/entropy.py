"""What a text costs when it is predicted by counting alone: the figures that a character model has to undercut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bigram_bits", "unigram_bits"]


def unigram_bits(train: NDArray[np.uint8], test: NDArray[np.uint8], size: int) -> float:
    """Bits per character of ``test`` [N] by the frequencies of single characters in ``train``, one added to each count.

    ``size`` is the number of characters of the vocabulary.
    """
    counts = np.bincount(train, minlength=size) + 1.0
    return float(-np.log2(counts / counts.sum())[test].mean())


def bigram_bits(train: NDArray[np.uint8], test: NDArray[np.uint8], size: int) -> float:
    """The same by the frequencies of pairs: of a character after the one before it.

    Each count gets what its character would be expected to have among ten more.
    """
    counts = np.bincount(train, minlength=size) + 1.0
    pairs = np.bincount(train[:-1].astype(np.int64) * size + train[1:], minlength=size * size).reshape(size, size)
    smoothed = pairs + 10.0 * counts / counts.sum()
    probabilities = smoothed / smoothed.sum(axis=1, keepdims=True)
    return float(-np.log2(probabilities[test[:-1], test[1:]]).mean())
