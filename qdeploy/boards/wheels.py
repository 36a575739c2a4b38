"""Wheels of another architecture, by pip with the machine's own configuration, into a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from qdeploy.runtime.errors import MissingRequirementError

from .cache import folder_size

__all__ = ["AARCH64", "ARMV7L", "install_wheels", "tested_versions"]

AARCH64 = (
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)
ARMV7L = ("manylinux_2_34_armv7l", "linux_armv7l")
"""The platforms of wheels that run on the boards' systems."""

_LARGEST = 600 << 20
"""Bound on the installed wheels, in bytes: they are 170 MB at most."""


def install_wheels(
    site: Path, python: str, platforms: Sequence[str], names: Sequence[str], *, options: Sequence[str] = ()
) -> dict[str, str]:
    """Installs ``names`` into ``site``; pip checks each wheel's SHA-256. Gives the versions.

    Args:
        site: the folder; pip makes it.
        python: the version of the Python that imports them, such as "3.11".
        platforms: AARCH64 or ARMV7L.
        names: packages as pip takes them.
        options: of pip besides, such as "--no-deps".

    Raises:
        MissingRequirementError: the network or a wheel is missing, or they are larger than anything expected.
    """
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    words += ["--target", str(site), "--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    for platform in platforms:
        words += ["--platform", platform]
    done = subprocess.run([*words, *options, *names], capture_output=True, text=True, check=False)  # noqa: S603 (this Python)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        machine = platforms[0].split("_", 3)[3]
        text = "\n".join([f"the wheels for {machine} could not be installed", *(f"  {line}" for line in said)])
        raise MissingRequirementError(
            f"{text}\n  look at the network and at pip's settings (pip config list), and repeat"
        )
    size = folder_size(site)
    if size > _LARGEST:
        raise MissingRequirementError(
            f"the wheels are {size >> 20} MiB, expected at most {_LARGEST >> 20}; look at where pip takes them from"
        )
    found = (path.name.removesuffix(".dist-info").rpartition("-") for path in sorted(site.glob("*.dist-info")))
    return {name: version for name, _, version in found}


def tested_versions() -> dict[str, str]:
    """Package -> the version that the tests run with, as ``tested_versions.txt`` has it."""
    text = (resources.files("qdeploy") / "tested_versions.txt").read_text(encoding="utf-8")
    return dict(line.split("==", 1) for line in text.splitlines() if "==" in line and not line.startswith("#"))
