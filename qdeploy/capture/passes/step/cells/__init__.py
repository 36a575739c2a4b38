"""Cells that have an operator, one a file: the template that recognises each in the normal form of a step."""

from __future__ import annotations

import importlib
import pkgutil

from .cell import Cell, Step, registered

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Cell", "Step", "registered"]
