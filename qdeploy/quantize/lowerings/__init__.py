"""From float layers to integer operators, one file an operator; importing this package registers all of them."""

from __future__ import annotations

import importlib
import pkgutil

from qdeploy.quantize.float_graph import LAYOUT_OPERATORS
from qdeploy.quantize.lowerings.registry import LOWERINGS, Context

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["LAYOUT_OPERATORS", "LOWERINGS", "Context"]
