"""Two optimizers of different parameters that a training uses as one."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["OptimizerPair"]


class OptimizerPair:
    """``first`` and ``second`` behind those members of ``torch.optim.Optimizer`` that a training needs."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
        self._pair = {"first": first, "second": second}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, whose values may be changed."""
        return [group for optimizer in self._pair.values() for group in optimizer.param_groups]

    def step(self) -> None:
        """A step of both."""
        for optimizer in self._pair.values():
            optimizer.step()

    def zero_grad(self) -> None:
        """Forgets the gradients of both."""
        for optimizer in self._pair.values():
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The states of both under ``first`` and ``second``."""
        return {name: optimizer.state_dict() for name, optimizer in self._pair.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What ``state_dict`` gave."""
        for name, optimizer in self._pair.items():
            optimizer.load_state_dict(state_dict[name])
