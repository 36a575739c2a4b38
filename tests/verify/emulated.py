"""Other x86 processors, emulated by qemu's user mode: the same Python, numpy and onnxruntime with fewer instructions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

__all__ = ["PROCESSORS", "emulated", "emulator", "features"]

PROCESSORS = {
    "Haswell": "AVX2, no AVX-512, no VNNI: u8 x s8 products saturate in 16 bits",
    "Nehalem": "SSE4.2, no AVX: the least that numpy's and onnxruntime's wheels start on",
}
"""As qemu names them, and why they are here."""

_PINNED = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
"""Variables that name a processor's features: those of this machine would crash another."""

_FEATURES = """
from numpy._core._multiarray_umath import __cpu_features__ as found
print(" ".join(name for name, present in found.items() if present))
"""


def emulator() -> str | None:
    """The path of qemu's user mode for x86-64, None where it is not installed."""
    return shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")


def emulated(processor: str, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """A Python process on the emulated processor, one thread for its linear algebra."""
    program = emulator()
    assert program is not None, "no qemu-x86_64"
    environment = {name: value for name, value in os.environ.items() if name not in _PINNED}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    command = [program, "-cpu", processor, sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment)


def features(processor: str) -> set[str]:
    """What numpy finds there."""
    done = emulated(processor, "-c", _FEATURES)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
