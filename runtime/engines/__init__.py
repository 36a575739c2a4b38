"""Engines: one way to run an integer model on whatever this machine has.

``open_engine("onnxruntime", model).run({"x": array})`` gives every graph output by name. The engines:

- ``numpy``: the reference, which reads the operators and checks their contract;
- ``bodies``: NumPy too, but reads the bodies, the standard ONNX operators that other runtimes execute;
- ``onnxruntime``: the fast one;
- ``litert``: LiteRT on the file that is made of a bundle, never unless it is named;
- ``c``: a compiled library, of a bundle only, and never unless it is named (``DEFAULTS`` are the others).
"""

from __future__ import annotations

from qdeploy.runtime.engines.engine import Engine
from qdeploy.runtime.engines.registry import DEFAULTS, ENGINES, available, check_litert_options, open_engine
from qdeploy.runtime.litert_options import LitertOptions

__all__ = ["DEFAULTS", "ENGINES", "Engine", "LitertOptions", "available", "check_litert_options", "open_engine"]
