"""Exporting twins: layers of a copied model change their class, so that each exports as one node.

A twin keeps the attributes, the parameters and the other methods of its layer, because user code reads such things as
``self.rnn.hidden_size``; only what is computed is written otherwise. One family a file; importing this package registers
all of them.
"""

from __future__ import annotations

import importlib
import pkgutil

from .registry import replace_layers

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["replace_layers"]
