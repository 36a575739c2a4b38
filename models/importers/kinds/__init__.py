"""The kinds of layers that an architecture file may list, by library."""

from __future__ import annotations

from .kind import Key, Kind, Spec
from .libraries import QUATERNION_LIBRARIES, QuaternionLibrary

__all__ = ["QUATERNION_LIBRARIES", "Key", "Kind", "QuaternionLibrary", "Spec"]
