"""Debian's Python of another architecture: fetched, unpacked, compiled to byte code and tried, without root."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from qdeploy.runtime.errors import MissingRequirementError

from .packages import PackageSource
from .programs import find

__all__ = ["compile_code", "require_programs", "try_imports", "unpack_python"]

_LIBRARIES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8")


def require_programs(emulator: str) -> None:
    """Whether everything that fetches, unpacks and emulates is here.

    Raises:
        MissingRequirementError: a program is not on PATH.
    """
    for program in ("apt-get", "apt-cache", "apt-config", "dpkg-deb", emulator):
        find(program)


def unpack_python(
    new: Path, architecture: str, tell: Callable[[int], None], besides: Sequence[str] = ()
) -> tuple[str, dict[str, str]]:
    """Makes ``new/root`` with a Python, its libraries and the packages ``besides``; gives its name and all versions.

    ``tell`` is called with 0 before the lists of packages come, with 1 before the packages do, with 2 before they are unpacked.

    Raises:
        MissingRequirementError: the network or a package is missing.
    """
    root = new / "root"
    root.mkdir()
    source = PackageSource(new / "apt", architecture)
    source.folder.mkdir()
    tell(0)
    source.update()
    tell(1)
    python = source.python()
    packages = source.fetch(
        [*_LIBRARIES, f"lib{python}-minimal", f"lib{python}-stdlib", f"{python}-minimal", *besides],
    )
    tell(2)
    source.unpack(root)
    shutil.rmtree(source.folder)
    # Manuals and licences, with links to packages that are not here.
    shutil.rmtree(root / "usr" / "share")
    if not (root / "lib").exists():
        # Newer Debians have everything below usr, and a link that belongs to another package.
        (root / "lib").symlink_to("usr/lib")
    return python, packages


def compile_code(command: Sequence[str], python: str, folders: Sequence[Path]) -> None:
    """Byte code for the emulated Python, which is ten times as slow at making its own.

    Args:
        command: the words that start it.
        python: its name, such as "python3.11".
        folders: by their paths on this machine: the emulator writes new files of another root to this machine's own folders.
    """
    if python == f"python{sys.version_info.major}.{sys.version_info.minor}":
        for folder in folders:
            compileall.compile_dir(folder, quiet=2, workers=0)
        return
    # Byte code is of one version: only that Python can make it.
    words = [*command, "-m", "compileall", "-q", *map(str, folders)]
    # Files of other Pythons' syntax among the tests of packages do not compile; nobody imports them.
    subprocess.run(words, capture_output=True, check=False)  # noqa: S603 (our own emulated Python)


def try_imports(command: Sequence[str], folders: Sequence[str], modules: Sequence[str], numpy: str) -> None:
    """Whether what was made starts, imports ``modules`` and finds this version of NumPy.

    Raises:
        MissingRequirementError: it does not.
    """
    script = (
        f"import sys; sys.path[:0] = {list(folders)!r}; import numpy, {', '.join(modules)}; print(numpy.__version__)"
    )
    done = subprocess.run(  # noqa: S603 (our own emulated Python)
        [*command, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"ORT_DISABLE_TELEMETRY": "1"},
    )
    if done.returncode != 0 or done.stdout.strip() != numpy:
        said = done.stderr.strip().splitlines()[-3:] or [f"it ended with {done.returncode}"]
        raise MissingRequirementError(
            "\n".join(["the emulated Python does not start", *(f"  {line}" for line in said)])
        )
