"""One small network of the golden bundles: its float form, its weights, and how it is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize import Recipe

from ..quantize.networks import float_model

INPUTS, HIDDEN, CLASSES, STEPS = 3, 12, 4, 10
Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """A float network and how it is exported."""

    text: str
    weights: Callable[[], Weights]
    x: tuple[int, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    module: Callable[[Weights], Any] | None = None
    """Makes a torch module of the weights, for layers that ONNX has no operator for; ``text`` is empty then."""

    indices: Callable[..., NDArray[Any]] | None = None
    """Makes the samples, of the shape of ``x``, where they are indices."""

    def model(self) -> Any:
        """In float: an ONNX model, or a torch module."""
        return float_model(self.text, self.weights()) if self.module is None else self.module(self.weights())

    def samples(self) -> NDArray[Any]:
        """Sixteen samples along the first axis, on a grid of 256 like pixels."""
        if self.indices is not None:
            return self.indices(*self.x)
        return np.random.default_rng(5).integers(0, 256, (16, *self.x)).astype(np.float32) / 256

    def chosen_recipe(self) -> Recipe:
        """The default recipe with this network's changes."""
        return Recipe("golden", "of a golden bundle", **self.recipe)
