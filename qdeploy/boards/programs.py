"""The programs of other people that emulate boards and unpack their packages."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

from qdeploy.runtime.errors import MissingRequirementError

__all__ = ["emulator", "find", "knows_processor"]

_HOW = {
    "qemu-aarch64": "Debian, Ubuntu: apt-get install qemu-user; Fedora: dnf install qemu-user",
    "qemu-arm": "Debian, Ubuntu: apt-get install qemu-user; Fedora: dnf install qemu-user",
    "qemu-system-arm": "Debian, Ubuntu: apt-get install qemu-system-arm; Fedora: dnf install qemu-system-arm",
    "apt-get": "it is part of Debian and Ubuntu; on another system, make the sysroot on one of these and copy its folder",
    "apt-cache": "it is part of Debian and Ubuntu, beside apt-get",
    "apt-config": "it is part of Debian and Ubuntu, beside apt-get",
    "dpkg-deb": "Debian, Ubuntu: it is there already; Fedora: dnf install dpkg",
}
"""How each one is got."""


def find(name: str) -> str:
    """The path of a program; statically linked qemus go by another name.

    Raises:
        MissingRequirementError: it is not on PATH; the message says how to get it.
    """
    path = shutil.which(name) or shutil.which(f"{name}-static")
    if path is None:
        raise MissingRequirementError(f"the program {name} is not on PATH; {_HOW[name]}")
    return path


def emulator(command: tuple[str, ...]) -> list[str]:
    """A command of ``Target.emulator``, such as ``("qemu-aarch64", "-cpu", "cortex-a72")``, with the program's path.

    Raises:
        MissingRequirementError: the program is missing, or too old to know the processor.
    """
    program, *options = command
    path = find(program)
    processor = options[options.index("-cpu") + 1]
    if not knows_processor(path, processor):
        raise MissingRequirementError(
            f"{path} does not know the processor {processor}; expected qemu 7.1 or later; update it ({_HOW[program]})"
        )
    return [path, *options]


@cache
def knows_processor(path: str, processor: str) -> bool:
    """Whether the emulator at ``path`` lists ``processor``."""
    done = subprocess.run([path, "-cpu", "help"], capture_output=True, text=True, check=False)  # noqa: S603 (a program of PATH)
    return processor in done.stdout.split()
