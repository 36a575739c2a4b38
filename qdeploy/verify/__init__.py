"""Do all runtimes compute the same bits? The proof behind every bundle.

The judge is the reference, which reads the operators by their contract. The voices read the bodies: the NumPy executor,
and onnxruntime with its optimizations off and on, with one and with two threads. Every output and every tensor between
the layers, all steps of all states included, is compared with ``==``.
"""

from __future__ import annotations

from .report import Difference, VerifyReport, VoiceReport
from .run import verify

__all__ = ["Difference", "VerifyReport", "VoiceReport", "verify"]
