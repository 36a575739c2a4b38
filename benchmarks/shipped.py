"""A shipped image classifier, captured and calibrated once: every contender of a comparison is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration import calibrate
from qdeploy.capture.checkpoint_source import checkpoint_dataset
from qdeploy.evaluation import load_samples
from qdeploy.exporter import CALIBRATION_SAMPLES
from qdeploy.listing import missing_dataset
from qdeploy.quantize import IntegerModel, Recipe, quantize
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.numeric import IntArray, quantize_input

__all__ = ["TEST_IMAGES", "ShippedNetwork", "accuracy"]

TEST_IMAGES = 2000
"""A network's accuracy is that of so many test images: 1 point is 20 of them; five contenders judge them in 5 to 10 seconds."""

IMAGES_AT_A_TIME = 50


@dataclass(frozen=True)
class ShippedNetwork:
    """A network and what it is calibrated on: the data that it was trained on, where they are here, else made samples.

    Attributes:
        model: captured, float.
        feeds: the calibration's samples as the model takes them.
        batch_axes: of each input.
        statistics: of the calibration.
        data: the name of the network's data set.
        here: whether it is on this machine.
    """

    model: onnx.ModelProto
    feeds: Mapping[str, NDArray[Any]]
    batch_axes: Mapping[str, int]
    statistics: Any
    data: str
    here: bool

    @classmethod
    def named(cls, network: str, shape: tuple[int, ...]) -> ShippedNetwork:
        """A shipped checkpoint by name, and the shape of one of its samples."""
        from qdeploy.capture import capture

        data = checkpoint_dataset(network)
        if data is None:
            message = f"{network} names no data set"
            raise InvalidInputError(message)
        missing = missing_dataset(data)
        made = np.random.default_rng(1).integers(0, 256, (32, *shape)).astype(np.float32) / 256
        samples = {"x": made} if missing else load_samples(data, "train", CALIBRATION_SAMPLES).inputs
        captured = capture(network, samples)
        feeds = captured.arrange(samples)
        axes = {spec.name: spec.batch_axis for spec in captured.inputs}
        statistics = calibrate(captured.model, feeds, axes)
        return cls(captured.model, feeds, axes, statistics, data, not missing)

    @property
    def input(self) -> str:
        """The name of the only input."""
        (name,) = self.batch_axes
        return name

    @property
    def convolutional(self) -> bool:
        """Whether it has a convolution."""
        return any(node.op_type == "Conv" for node in self.model.graph.node)

    def quantized(self, recipe: Recipe) -> IntegerModel:
        """Its integers by a recipe."""
        return quantize(self.model, self.statistics, recipe)

    def given(self, integers: IntegerModel, real: NDArray[np.float32]) -> IntArray:
        """Samples as the input of an integer model."""
        kind = integers.graph.types[self.input]
        return quantize_input(real, kind.scale, kind.zero_point, np.dtype(kind.dtype))

    def test_images(self) -> tuple[NDArray[np.float32], NDArray[Any]] | None:
        """The first TEST_IMAGES test images and their labels; None where the data are not here."""
        if not self.here:
            return None
        test = load_samples(self.data, "test", TEST_IMAGES)
        (real,) = test.inputs.values()
        return real.astype(np.float32), np.asarray(test.labels)

    def images(self, count: int | None) -> str:
        """What an accuracy is of, or, without a number of images, why there is none."""
        return (
            f"{self.data} is not on this machine"
            if count is None
            else f"the first {count:,} test images of {self.data}"
        )


def accuracy(call: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any], labels: NDArray[Any]) -> float:
    """The part of samples whose largest output stands where the label says; equal ones count for the first."""
    parts = [call(x[start : start + IMAGES_AT_A_TIME]) for start in range(0, len(x), IMAGES_AT_A_TIME)]
    return float((np.concatenate(parts).argmax(axis=-1) == labels).mean())
