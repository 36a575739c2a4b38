"""The data sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

from . import characters
from .characters import CharacterSet
from .cifar import CIFAR_10, CIFAR_100, Cifar, require_cifar
from .copy_task import make_copy_task
from .dataset import SPLITS, Dataset
from .digits import load_digits
from .images import CHANNELS, cifar_images, mnist_images
from .mnist import load_mnist, permutation
from .spoken_digits import load_spoken_digits
from .vocabulary import Vocabulary

__all__ = ["load", "load_characters", "names", "require"]

_Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]

# Short enough to train in minutes; the literature's length is 1,000.
COPY_LENGTH = 120
COPY_SAMPLES = {"train": 20_000, "test": 1_000}
COPY_SEEDS = {"train": 0, "test": 1}


def _steps(arrays: _Arrays) -> _Arrays:
    """One value a step: [N, T] becomes [N, T, 1]."""
    return arrays[0][:, :, np.newaxis], arrays[1]


def _permuted(arrays: _Arrays) -> _Arrays:
    return np.ascontiguousarray(arrays[0][:, permutation()]), arrays[1]


_SOURCES: dict[str, tuple[Callable[[str], _Arrays], int | None]] = {
    "mnist": (lambda split: load_mnist("mnist", split), None),
    "fashion-mnist": (lambda split: load_mnist("fashion_mnist", split), None),
    "sequential-mnist": (lambda split: _steps(load_mnist("mnist", split)), 0),
    "permuted-mnist": (lambda split: _steps(_permuted(load_mnist("mnist", split))), 0),
    "digits": (load_digits, None),
    "sequential-digits": (lambda split: _steps(load_digits(split)), 0),
    "spoken-digits": (load_spoken_digits, 0),
    "copy": (lambda split: make_copy_task(COPY_SAMPLES[split], COPY_LENGTH, COPY_SEEDS[split]), 0),
}
_CIFAR: dict[str, Cifar] = {}
# Images as [3, H, W] and, with gray as the fourth channel, as [4, H, W].
for _channels in CHANNELS:
    _SOURCES |= {
        f"mnist-{_channels}": (partial(mnist_images, "mnist", _channels), None),
        f"fashion-mnist-{_channels}": (partial(mnist_images, "fashion_mnist", _channels), None),
        f"cifar-10-{_channels}": (partial(cifar_images, CIFAR_10, _channels), None),
        f"cifar-100-{_channels}": (partial(cifar_images, CIFAR_100, _channels), None),
    }
    _CIFAR |= {f"cifar-10-{_channels}": CIFAR_10, f"cifar-100-{_channels}": CIFAR_100}

# Texts, character by character: 97 numbers a step are made for the samples that are asked for only.
_TEXTS: dict[str, Callable[[Vocabulary | None], CharacterSet]] = {"python-topics": characters.python_topics}


def names() -> list[str]:
    """The names that ``load`` takes."""
    return sorted([*_SOURCES, *_TEXTS])


def require(name: str) -> None:
    """Return where the test split of a named set can be read here.

    Raises:
        InvalidInputError: an unknown name.
        MissingRequirementError: a package or the files are not here.
        InvalidFileError: files of a small set are damaged; those that take seconds to unpack are not read.
    """
    if name in _CIFAR:
        require_cifar(_CIFAR[name], "test")
    else:
        load(name, "test", limit=1)


def load_characters(source: str | Sequence[str | Path], vocabulary: Vocabulary | None = None) -> CharacterSet | None:
    """A text in its three parts, or ``None`` for a named set that is no text.

    Args:
        source: a name of ``names()`` or one path, or a list of paths: text files, or one folder of Penn Treebank's files.
        vocabulary: of a model; by default that of the set, or of the training part.

    Raises:
        InvalidInputError: neither a name nor a path; too little text.
        InvalidFileError, MissingDataError: as ``characters.from_files``.
    """
    if not isinstance(source, str):
        return characters.from_files(source, vocabulary)
    if source in _TEXTS:
        return _TEXTS[source](vocabulary)
    if source in _SOURCES:
        return None
    # os.path, which takes a name too long for a file for one that is not there.
    if not os.path.exists(source):  # noqa: PTH110
        raise InvalidInputError(
            f"data set {source!r} is not known; known are {', '.join(names())}, and text files by their path"
        )
    return characters.from_files([source], vocabulary)


def load(
    name: str,
    split: str = "test",
    limit: int | None = None,
    vocabulary: Vocabulary | None = None,
    *,
    indices: bool = False,
) -> Dataset:
    """One split of a named set, or of a text of the user's.

    Args:
        name: one of ``names()``, or the path of a text file or of a folder with Penn Treebank's files.
        split: ``train`` or ``test``.
        limit: at most so many samples, the first ones; ``None`` for all.
        vocabulary: of the model that reads a text; by default the text's own. Sets that are no texts have none.
        indices: a text's characters as int64 [N, T], for an embedding, in place of one-hot ones.

    Raises:
        InvalidInputError: an unknown name or split, or a limit below 1.
        MissingDataError: files of the set are not on this machine.
        InvalidFileError: files of the set are damaged.
    """
    if split not in SPLITS:
        raise InvalidInputError(f"split {split!r} of data set {name}: expected one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit={limit}: expected at least 1, or None for all samples")
    text = load_characters(name, vocabulary)
    if text is not None:
        tokens, following = text.split(split)
        some = tokens[:limit]
        x = some.astype(np.int64) if indices else text.vocabulary.one_hot(some)
        return Dataset(name, split, x, following[:limit].astype(np.int64), 0, text.vocabulary)
    source, time_axis = _SOURCES[name]
    x, y = source(split)
    return Dataset(name, split, x[:limit], y[:limit], time_axis)
