"""The ONNX artifact: bodies of standard integer operators for every ``qdeploy`` operator, one file each."""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

from qdeploy.export.onnx.attach import attach_bodies  # noqa: E402
from qdeploy.export.onnx.expose import expose  # noqa: E402
from qdeploy.export.onnx.float_io import add_float_borders  # noqa: E402
from qdeploy.export.onnx.inline import inline  # noqa: E402
from qdeploy.export.onnx.integer_only import check_integer_only  # noqa: E402

__all__ = ["add_float_borders", "attach_bodies", "check_integer_only", "expose", "inline"]
