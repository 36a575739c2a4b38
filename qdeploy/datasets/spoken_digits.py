"""The Free Spoken Digit Dataset (Z. Jackson and others, CC BY-SA 4.0) as log-mel frames.

One file, ``fsdd/fsdd.npz`` of the data folder, holds all recordings: ``samples`` int16, 8 kHz, one behind the other;
``offsets``, so that recording n is ``samples[offsets[n]:offsets[n + 1]]``; ``label`` and ``index``, the number of the
recording among those of its speaker and digit. The official test split is ``index`` 0 to 4.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidFileError, MissingDataError
from qdeploy.runtime.npz import read_npz

from .mnist import DATA_VARIABLE, data_folder

__all__ = ["BANDS", "FRAMES", "load_spoken_digits", "log_mel"]

RATE = 8000
"""Samples a second."""
WINDOW, HOP, TRANSFORM = 200, 100, 256
"""Samples of a window (25 ms), between two of them (12.5 ms), and of the Fourier transform."""
BANDS = 32
FRAMES = 64
"""0.81 seconds: 98 % of the recordings are no longer."""
LOWEST, HIGHEST = 60.0, 3800.0
"""The mel bands reach over these frequencies, in Hz."""
RANGE = 8.0
"""Decades of energy below a recording's loudest band that are told apart: 80 dB."""
TEST_INDEX = 5
"""Recordings of a smaller index are the test split."""

MAX_BYTES = 1 << 26
"""The set has 21 million."""
_ARRAYS = {"samples": np.int16, "offsets": np.int64, "label": np.uint8, "index": np.uint8}


def load_spoken_digits(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Log-mel frames ``[N, 64, 32]`` in [0, 255/256], multiples of 1/256, and digits ``[N]``.

    The training recordings come by falling index, so that the last ones of them are of all speakers and digits.

    Raises:
        MissingDataError: the file is not there.
        InvalidFileError: it is damaged or not what its name says.
    """
    arrays = _read(data_folder() / "fsdd" / "fsdd.npz")
    index = arrays["index"]
    rows = np.flatnonzero(index < TEST_INDEX if split == "test" else index >= TEST_INDEX)
    rows = rows[np.argsort(-index[rows].astype(np.int64), kind="stable")]
    offsets = arrays["offsets"]
    frames = [log_mel(arrays["samples"][offsets[n] : offsets[n + 1]]) for n in rows]
    x = np.stack(frames) if frames else np.zeros((0, FRAMES, BANDS), np.float32)
    return x, arrays["label"][rows].astype(np.int64)


def log_mel(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """The last 64 frames of a recording, ``[64, 32]``; a shorter one begins with frames of zeros.

    Energies of Hann windows of 25 ms every 12.5 ms in triangular mel bands; their logarithm from 80 dB below the
    recording's loudest one (0) up to it (255/256), rounded to 8 bits.

    Args:
        samples: int16 ``[n]``; what does not fill a last window is filled up with zeros.
    """
    count = max(1, -(-(len(samples) - WINDOW) // HOP) + 1)
    padded = np.zeros(WINDOW + HOP * (count - 1), np.float64)
    padded[: len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][-FRAMES:]
    spectrum = np.fft.rfft(windows * np.hanning(WINDOW), TRANSFORM)
    energy = (np.abs(spectrum) ** 2) @ _mel_bands().T
    # A recording of silence has no loudest band: everything is 0.
    level = np.log10(np.maximum(energy, 1e-30)) - np.log10(max(energy.max(), 1e-30))
    steps = np.rint((1 + level / RANGE) * 255) if energy.max() > 0 else np.zeros_like(energy)
    frames = np.zeros((FRAMES, BANDS), np.float32)
    frames[FRAMES - len(steps) :] = np.clip(steps, 0, 255) / 256
    return frames


def _mel_bands() -> NDArray[np.float64]:
    """Triangles ``[32, 129]`` over the transform's frequencies, each from its neighbours' middle to the other's."""
    low, high = (2595 * math.log10(1 + frequency / 700) for frequency in (LOWEST, HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    frequencies = np.arange(TRANSFORM // 2 + 1) * (RATE / TRANSFORM)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    bands: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return bands


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise MissingDataError(
            f"{path} is not there. Put the Free Spoken Digit Dataset as one file with the arrays {', '.join(_ARRAYS)} "
            f"there, or name another data folder, the one above fsdd, in the environment variable {DATA_VARIABLE}"
        )
    if path.stat().st_size > MAX_BYTES:
        raise InvalidFileError(f"{path}: more than {MAX_BYTES} bytes, which this set does not have")
    arrays = read_npz(path.read_bytes(), str(path), limit=MAX_BYTES, advice="get it again")
    for name, kind in _ARRAYS.items():
        found = arrays.get(name)
        if found is None or found.dtype != kind or found.ndim != 1:
            what = "is missing" if found is None else f"is {found.dtype}{list(found.shape)}"
            raise InvalidFileError(f"{path}: {name} {what}, expected {np.dtype(kind).name} of one dimension")
    count, total = len(arrays["label"]), len(arrays["samples"])
    offsets = arrays["offsets"]
    fits = len(offsets) == count + 1 and len(arrays["index"]) == count and bool((np.diff(offsets) > 0).all())
    if not fits or offsets[0] != 0 or offsets[-1] != total:
        raise InvalidFileError(
            f"{path}: {len(offsets)} offsets, {count} labels, {len(arrays['index'])} indices and {total} samples do not "
            "fit together: expected one offset more than recordings, rising from 0 to the number of samples"
        )
    if count and int(arrays["label"].max()) > 9:
        raise InvalidFileError(f"{path}: found digit {int(arrays['label'].max())}, expected 0 to 9")
    return arrays
