"""Images with channels: RGB, and RGB + gray, the four parts of a quaternion.

Source of the fourth channel: Iqbal and Mishra, "Neural networks at a fraction with pruned quaternions", 2023; its weights
are those of ITU-R BT.601.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.datasets.cifar import Cifar, load_cifar
from qdeploy.datasets.mnist import load_mnist

__all__ = ["CHANNELS", "cifar_images", "gray_of", "mnist_images"]

CHANNELS = {"rgb": 3, "rgb-gray": 4}

_Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


def gray_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(299 R + 587 G + 114 B) / 1000 of [N, 3, H, W], rounded half up, [N, 1, H, W]."""
    red, green, blue = (rgb[:, channel : channel + 1].astype(np.int32) for channel in range(3))
    gray: NDArray[np.uint8] = ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)
    return gray


def cifar_images(kind: Cifar, channels: str, split: str) -> _Arrays:
    """CIFAR's images [N, 3 or 4, 32, 32], pixel/256, and classes [N]. Raises as ``load_cifar``."""
    rgb, classes = load_cifar(kind, split)
    images = rgb if channels == "rgb" else np.concatenate([rgb, gray_of(rgb)], axis=1)
    return images.astype(np.float32) / np.float32(256), classes


def mnist_images(subfolder: str, channels: str, split: str) -> _Arrays:
    """MNIST's or its kin's images [N, 3 or 4, 28, 28], the gray in every channel, and classes [N]; raises as ``load_mnist``."""
    flat, classes = load_mnist(subfolder, split)
    return np.repeat(flat.reshape(-1, 1, 28, 28), CHANNELS[channels], axis=1), classes
