"""What calibration records inside each recurrent cell, one a file; importing this package registers all of them."""

from __future__ import annotations

import importlib
import pkgutil

from qdeploy.calibration.cells.registry import CELLS, cell

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CELLS", "cell"]
