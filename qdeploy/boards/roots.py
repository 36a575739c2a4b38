"""Root folders as emulated processors see them: a Python's files by links, and what Linux tells of the processor.

Runtimes choose their kernels by ``/proc/cpuinfo`` and die on one of another architecture; LiteRT reads the number of cores below
``/sys`` too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .programs import emulator

__all__ = ["PROCESSORS", "EmulatedPython", "Processor", "make_root"]


@dataclass(frozen=True)
class Processor:
    """What Linux tells of it: ARM's part number, the features, the architecture's version; ``emulator`` runs it."""

    part: int
    features: str
    architecture: int = 8
    emulator: str = "qemu-aarch64"


PROCESSORS = {
    "cortex-a53": Processor(0xD03, "fp asimd evtstrm crc32 cpuid"),
    "cortex-a72": Processor(0xD08, "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": Processor(
        0xD0B,
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
    "cortex-a7": Processor(
        0xC07,
        "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
        7,
        "qemu-arm",
    ),
}
"""Processors whose boards run Linux and a Python, as qemu names them."""

#: All these boards have four.
_CORES = 4


@dataclass(frozen=True)
class EmulatedPython:
    """A Python in a folder of roots, and of which versions it was made."""

    folder: Path
    python: str
    packages: Mapping[str, str]
    wheels: Mapping[str, str]
    bytes: int

    def command(self, processor: str) -> list[str]:
        """The words that start this Python on ``processor``; a script's own words follow.

        Raises:
            MissingRequirementError: qemu is missing or too old.
        """
        root = self.folder / "roots" / processor
        words = emulator((PROCESSORS[processor].emulator, "-cpu", processor))
        return [*words, "-L", str(root), str(root / "usr" / "bin" / self.python), "-I", "-S", "-B"]


def make_root(folder: Path, root: Path, processor: str) -> None:
    """Makes ``folder``: links to what lies in ``root``, with the processor's ``/proc`` and ``/sys``.

    The links are relative: both folders may be moved together.
    """
    cores = folder / "sys" / "devices" / "system" / "cpu"
    for made in (folder / "proc", cores):
        made.mkdir(parents=True)
    for entry in sorted(root.iterdir()):
        (folder / entry.name).symlink_to(os.path.relpath(root / entry.name, folder))
    told = PROCESSORS[processor]
    core = [
        "BogoMIPS\t: 108.00",
        f"Features\t: {told.features}",
        "CPU implementer\t: 0x41",
        f"CPU architecture: {told.architecture}",
        "CPU variant\t: 0x0",
        f"CPU part\t: {told.part:#x}",
        "CPU revision\t: 3",
        "",
        "",
    ]
    text = "".join("\n".join([f"processor\t: {number}", *core]) for number in range(_CORES))
    (folder / "proc" / "cpuinfo").write_text(text)
    for name in ("online", "possible", "present"):
        (cores / name).write_text(f"0-{_CORES - 1}\n")
