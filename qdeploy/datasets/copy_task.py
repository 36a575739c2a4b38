"""The copy task, which asks a recurrent network to keep ten symbols over a long stretch of blanks.

Source: Hochreiter and Schmidhuber, 1997, in the form of Arjovsky, Shah, Bengio, ICML 2016.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["CLASSES", "SYMBOLS", "VOCABULARY", "make_copy_task"]

# 0 is blank, 1 to 8 are symbols, 9 is the marker that asks for the copy.
VOCABULARY = 10
CLASSES = 9
SYMBOLS = 10
_BLANK, _MARKER = 0, 9


def make_copy_task(samples: int, length: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``samples`` sequences: one-hot inputs [N, L, 10] and a class for each step [N, L].

    With K = 10: ``x = [K symbols, L - 2K blanks, marker, K - 1 blanks]``, ``y = [L - K blanks, K symbols]``.

    Args:
        samples: N.
        length: L, at least 2K.
        seed: of the symbols, which are uniform on 1 to 8.
    """
    if length < 2 * SYMBOLS:
        raise InvalidInputError(f"copy task of length {length}: expected at least {2 * SYMBOLS} steps")
    symbols = np.random.default_rng(seed).integers(1, _MARKER, size=(samples, SYMBOLS))
    tokens = np.full((samples, length), _BLANK, dtype=np.int64)
    tokens[:, :SYMBOLS] = symbols
    tokens[:, length - SYMBOLS] = _MARKER
    classes = np.full((samples, length), _BLANK, dtype=np.int64)
    classes[:, length - SYMBOLS :] = symbols
    return np.eye(VOCABULARY, dtype=np.float32)[tokens], classes
