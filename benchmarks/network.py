"""The untrained network that the command benchmark exports; speed does not depend on the weights."""

from __future__ import annotations

import torch

from qdeploy.models import OrthogonalClassifier


def build() -> torch.nn.Module:
    """784 steps of one pixel, 170 units, 4-bit weights, ten classes."""
    torch.manual_seed(0)
    return OrthogonalClassifier(1, 170, 10, weight_bits=4)
