"""One step of a loop as algebra: what its body computes, and which layers it is made of."""

from __future__ import annotations

from .body import through_identity
from .conversion import convert_loop
from .loop import Carried, Loop, Scanned, Stacked

__all__ = ["Carried", "Loop", "Scanned", "Stacked", "convert_loop", "through_identity"]
