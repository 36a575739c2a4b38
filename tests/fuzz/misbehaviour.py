"""Readers that do on purpose what none may do, so that a test sees whether it is seen."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path


def misbehave(kind: str, folder: Path) -> None:
    """Fails in the way that ``kind`` names."""
    assert folder.is_dir()
    if kind == "raise":
        _ = 1 // 0
    elif kind == "crash":
        ctypes.string_at(0)
    elif kind == "exit":
        os._exit(3)
    elif kind == "memory":
        _ = b"\1" * (900 << 20)
    elif kind == "allocate":
        _ = bytearray(1 << 40)
    elif kind == "hang":
        time.sleep(3600)
    else:
        raise ValueError(kind)
