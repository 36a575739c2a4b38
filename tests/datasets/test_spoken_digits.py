from __future__ import annotations

import numpy as np
import pytest

from qdeploy import datasets
from qdeploy.datasets.spoken_digits import BANDS, FRAMES, HOP, RATE, WINDOW, log_mel
from qdeploy.runtime.errors import InvalidFileError, MissingDataError


def made(recordings=20):
    """Tones of different lengths; index 0 to 9 of two digits."""
    generator = np.random.default_rng(0)
    parts = [tone(300 + 100 * n, generator.integers(1500, 8000)) for n in range(recordings)]
    return {
        "samples": np.concatenate(parts),
        "offsets": np.cumsum([0, *map(len, parts)]).astype(np.int64),
        "label": (np.arange(recordings) // 10).astype(np.uint8),
        "index": (np.arange(recordings) % 10).astype(np.uint8),
    }


def tone(frequency, length):
    return (10_000 * np.sin(2 * np.pi * frequency * np.arange(length) / RATE)).astype(np.int16)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a made set, with changed arrays, and gives its path."""
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    (tmp_path / "fsdd").mkdir()

    def save(**changed):
        arrays = {name: array for name, array in {**made(), **changed}.items() if array is not None}
        np.savez(tmp_path / "fsdd" / "fsdd.npz", **arrays)
        return tmp_path / "fsdd" / "fsdd.npz"

    return save


def test_splits_are_by_index(write):
    write()
    arrays = made()
    for split, wanted in (("test", arrays["index"] < 5), ("train", arrays["index"] >= 5)):
        data = datasets.load("spoken-digits", split)
        assert data.x.shape == (wanted.sum(), FRAMES, BANDS)
        assert data.x.dtype == np.float32
        assert data.time_axis == 0
        assert sorted(data.y) == sorted(arrays["label"][wanted])
    # The training recordings come by falling index: of both digits at the end.
    assert list(datasets.load("spoken-digits", "train").y[-2:]) == [0, 1]


def test_eight_bits_hold_every_frame(write):
    write()
    steps = datasets.load("spoken-digits", "train").x * 256
    assert np.array_equal(steps, np.rint(steps))
    assert steps.min() == 0
    assert steps.max() == 255


@pytest.mark.parametrize("frequency", [250, 1000, 3000])
def test_a_tone_is_loudest_in_its_band(frequency):
    frames = log_mel(tone(frequency, RATE))
    loudest = frames.sum(axis=0).argmax()
    mel = 2595 * np.log10(1 + np.array([60, frequency, 3800]) / 700)
    expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * (BANDS + 1) - 1
    assert abs(loudest - expected) <= 1


def test_short_and_long_recordings():
    short = log_mel(tone(500, WINDOW))
    assert not short[:-1].any()
    assert short[-1].max() == 255 / 256
    assert log_mel(tone(500, 10)).shape == (FRAMES, BANDS)
    # Of a long one the last frames remain.
    long = np.concatenate([np.zeros(RATE, np.int16), tone(500, WINDOW + HOP * (FRAMES - 1))])
    assert np.array_equal(log_mel(long), log_mel(tone(500, WINDOW + HOP * (FRAMES - 1))))


def test_silence_is_zero():
    assert not log_mel(np.zeros(4000, np.int16)).any()


def test_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"fsdd\.npz is not there.*QDEPLOY_DATA"):
        datasets.load("spoken-digits")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": None}, "label is missing"),
        ({"samples": np.zeros(9, np.float32)}, "samples is float32"),
        ({"offsets": np.arange(7, dtype=np.int64)}, "do not fit together"),
        ({"label": np.full(20, 10, np.uint8)}, "found digit 10"),
        ({"index": np.zeros(3, np.uint8)}, "do not fit together"),
        ({"offsets": np.empty(0, np.int64)}, "do not fit together"),
    ],
)
def test_damaged(write, changed, message):
    write(**changed)
    with pytest.raises(InvalidFileError, match=message):
        datasets.load("spoken-digits")


def test_truncated(write):
    path = write()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InvalidFileError, match="get it again"):
        datasets.load("spoken-digits")


@pytest.mark.data("spoken-digits")
def test_the_real_set():
    train, test = datasets.load("spoken-digits", "train"), datasets.load("spoken-digits", "test")
    assert train.x.shape == (2700, FRAMES, BANDS)
    assert test.x.shape == (300, FRAMES, BANDS)
    assert np.array_equal(np.bincount(test.y), np.full(10, 30))
    assert np.array_equal(np.bincount(train.y[-300:]), np.full(10, 30))
