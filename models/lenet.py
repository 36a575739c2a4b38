"""Lenet-300-100, real, quaternion, and over an algebra that is learned.

Source: Iqbal and Mishra, "Neural Networks at a Fraction with Pruned Quaternions", 2023: split ReLU, last layer real.
"""

from __future__ import annotations

from torch import Tensor, nn

from .hypercomplex import PHMLinear
from .quaternion_linear import QuaternionLinear

__all__ = ["HypercomplexLenet300100", "Lenet300100", "QuaternionLenet300100"]


class QuaternionLenet300100(nn.Module):
    """``QuaternionLinear(in, 300)``, ReLU, ``QuaternionLinear(300, 100)``, ReLU, ``Linear(100, classes)``.

    The input [B, in] is taken blocked: of a flattened image, (r, i, j, k) are its four quarters.
    """

    def __init__(self, in_features: int = 784, num_classes: int = 10) -> None:
        super().__init__()
        self.hidden1 = QuaternionLinear(in_features, 300)
        self.hidden2 = QuaternionLinear(300, 100)
        self.output = nn.Linear(100, num_classes)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of ``inputs`` [B, in]."""
        hidden = self.relu(self.hidden2(self.relu(self.hidden1(inputs))))
        logits: Tensor = self.output(hidden)
        return logits


class HypercomplexLenet300100(nn.Module):
    """``PHMLinear(n, in, 300)``, ReLU, ``PHMLinear(n, 300, 100)``, ReLU, ``Linear(100, classes)``; n is ``components``.

    The input [B, in] is taken blocked, as of ``QuaternionLenet300100``: each layer learns how its components are multiplied.
    """

    def __init__(self, in_features: int = 784, num_classes: int = 10, components: int = 4) -> None:
        super().__init__()
        self.hidden1 = PHMLinear(components, in_features, 300)
        self.hidden2 = PHMLinear(components, 300, 100)
        self.output = nn.Linear(100, num_classes)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of ``inputs`` [B, in]."""
        hidden = self.relu(self.hidden2(self.relu(self.hidden1(inputs))))
        logits: Tensor = self.output(hidden)
        return logits


class Lenet300100(nn.Module):
    """The real twin: ``Linear(in, 300)``, ReLU, ``Linear(300, 100)``, ReLU, ``Linear(100, classes)``."""

    def __init__(self, in_features: int = 784, num_classes: int = 10) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(in_features, 300)
        self.hidden2 = nn.Linear(300, 100)
        self.output = nn.Linear(100, num_classes)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of ``inputs`` [B, in]."""
        hidden = self.relu(self.hidden2(self.relu(self.hidden1(inputs))))
        logits: Tensor = self.output(hidden)
        return logits
