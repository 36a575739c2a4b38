"""Executor of the bodies: the standard integer ONNX operators, in NumPy, for machines without onnxruntime.

``BodyModel`` reads the model's second reading, the one that any ONNX runtime executes; arithmetic wraps as ONNX's
does. The operators'
own meaning, checked for overflow, is ``qdeploy.runtime.reference``.
"""

from __future__ import annotations

from qdeploy.runtime.standard.model import BodyModel
from qdeploy.runtime.standard.registry import OPERATORS

__all__ = ["OPERATORS", "BodyModel"]
