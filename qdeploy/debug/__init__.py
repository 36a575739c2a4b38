"""The verb ``debug``: which tensor, layer or time step costs it?"""

from __future__ import annotations

from .report import DebugReport, StepErrors, TensorError
from .run import debug

__all__ = ["DebugReport", "StepErrors", "TensorError", "debug"]
