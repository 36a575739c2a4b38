"""Engines: one way to run an integer model on whatever this machine has.

``open_engine("onnxruntime", model).run({"x": array})`` gives every graph output by name. The engines:

- ``numpy``: the reference, which reads the operators and checks their contract;
- ``bodies``: NumPy too, but reads the bodies, the standard ONNX operators that other runtimes execute;
- ``onnxruntime``: the fast one;
- ``c``: a compiled library, of a bundle only, and never unless it is named (``DEFAULTS`` are the others).
"""

from __future__ import annotations

from qdeploy.runtime.engines.engine import Engine
from qdeploy.runtime.engines.registry import DEFAULTS, ENGINES, available, open_engine

__all__ = ["DEFAULTS", "ENGINES", "Engine", "available", "open_engine"]
