"""LiteRT for emulated boards: made once, cached, without root, whole or absent.

``<cache>/arm64-litert`` holds ai-edge-litert, tflite-runtime and the older NumPy that the latter needs, for the Python of
``<cache>/arm64``; ``<cache>/armhf`` a Python of 32-bit boards with Debian's NumPy and tflite-runtime, since PyPI has no wheels of
the others for it. Both have roots like those of :mod:`qdeploy.boards.sysroot`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError
from qdeploy.runtime.litert_interpreter import PACKAGES
from qdeploy.runtime.staging import NEW, put, staging

from .cache import cache_folder, folder_size, read_record, take_away, write_record
from .debian_python import compile_code, require_programs, try_imports, unpack_python
from .roots import PROCESSORS, EmulatedPython, make_root
from .sysroot import find_sysroot, setup_sysroot
from .wheels import AARCH64, ARMV7L, install_wheels, tested_versions

if TYPE_CHECKING:
    from qdeploy.progress import Progress

__all__ = [
    "LITERT_BOARDS",
    "LitertSysroot",
    "find_litert",
    "litert_architecture",
    "remove_litert",
    "setup_litert",
]

LITERT_BOARDS = {
    "pi-zero2": "cortex-a53",
    "pi2": "cortex-a7",
    "pi3": "cortex-a53",
    "pi4": "cortex-a72",
    "pi5": "cortex-a76",
}
"""Boards that run LiteRT -> their processor. There is no runtime for ARMv6."""

_FOLDERS = {"arm64": "arm64-litert", "armhf": "armhf"}
_TRIED = {"arm64": "cortex-a72", "armhf": "cortex-a7"}
_SITE = "site"
_TFLITE = "tflite-runtime==2.14.0"
#: tflite-runtime is compiled against NumPy 1 and dies of NumPy 2.
_NUMPY = "numpy==1.26.4"
#: The last Python for which there is a wheel of tflite-runtime.
_LAST_TFLITE = (3, 11)
_DEBIAN_NUMPY = ("python3-numpy", "libblas3", "liblapack3", "libgfortran5")
_DEBIAN_SITE = Path("usr", "lib", "python3", "dist-packages")
#: Debian chooses among several of these by links that a package's script makes.
_CHOSEN = ("blas/libblas.so.3", "lapack/liblapack.so.3")
#: Grows when what is made changes: an older one is then made anew.
_LAYOUT = 1
_ADVICE = {
    "arm64": "make it with `qdeploy board setup` (about 31 MB to download, 90 MB on the disk, without root)",
    "armhf": "make it with `qdeploy board setup` (about 18 MB to download, 80 MB on the disk, without root)",
}


@dataclass(frozen=True)
class LitertSysroot(EmulatedPython):
    """One with LiteRT, of this architecture."""

    architecture: str

    @property
    def sites(self) -> list[str]:
        """Where its modules lie, by their paths on this machine: a 32-bit qemu looks nowhere else for a folder's properties."""
        folders = [self.folder / _SITE]
        if self.architecture == "armhf":
            folders.append(self.folder / "root" / _DEBIAN_SITE)
        return [str(folder) for folder in folders]

    @property
    def versions(self) -> dict[str, str]:
        """Of the runtimes and NumPy."""
        # Folders of wheels are called as modules are.
        named = {name.replace("_", "-"): version for name, version in self.wheels.items()}
        if "python3-numpy" in self.packages:
            # Debian's own version is "epoch:upstream-revision".
            named["numpy"] = self.packages["python3-numpy"].rpartition(":")[2].partition("-")[0]
        return named

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "folder": str(self.folder)}

    def lines(self) -> list[str]:
        """For people."""
        named = self.versions
        shown = ", ".join(f"{name} {named[name]}" for name in (*PACKAGES, "numpy") if name in named)
        return [f"{self.folder}: {self.bytes / 1e6:.0f} MB", f"{shown} ({self.architecture})"]


def litert_architecture(board: str) -> str:
    """The architecture of a board's LiteRT.

    Raises:
        InvalidInputError: there is none for this board.
    """
    if board not in LITERT_BOARDS:
        raise InvalidInputError(f"found the board {board!r}; LiteRT runs on {', '.join(LITERT_BOARDS)}")
    return "armhf" if PROCESSORS[LITERT_BOARDS[board]].emulator == "qemu-arm" else "arm64"


def _target(architecture: str) -> Path:
    return cache_folder() / _FOLDERS[architecture]


def find_litert(architecture: str) -> LitertSysroot:
    """What ``setup`` made for "arm64" or "armhf".

    Raises:
        MissingRequirementError: there is none, or one of an older layout, or it is for another Python than the one that is there.
    """
    folder, advice = _target(architecture), _ADVICE[architecture]
    values = read_record(folder, f"LiteRT for {architecture}", _LAYOUT, advice)
    try:
        found = LitertSysroot(folder=folder, **values)
    except TypeError as error:
        raise MissingRequirementError(f"{folder} is damaged ({error}); {advice}") from error
    if architecture == "arm64" and find_sysroot().python != found.python:
        raise MissingRequirementError(f"{folder} is for {found.python}, which is no longer there; {advice}")
    return found


def remove_litert() -> int:
    """Takes all of it away; gives the bytes that were freed."""
    return sum(take_away(_target(architecture)) for architecture in _FOLDERS)


def setup_litert(architecture: str, *, force: bool = False, progress: Progress | None = None) -> LitertSysroot:
    """Makes it, or gives what is there unless ``force``; for "arm64" the Python too, where that is missing.

    Raises:
        MissingRequirementError: a program, the network, a package or a wheel is missing; nothing is left behind.
    """
    if not force:
        try:
            return find_litert(architecture)
        except MissingRequirementError:
            pass
    require_programs(PROCESSORS[_TRIED[architecture]].emulator)
    stages = ("package lists", "packages", "unpacking", "wheels", "byte code", "trial")

    def tell(stage: int) -> None:
        if progress is not None:
            progress(f"LiteRT for {architecture}: {stages[min(stage, len(stages) - 1)]}", stage, len(stages))

    target = _target(architecture)
    with staging(target) as place:
        new = place / NEW
        new.mkdir()
        trial = (_make_arm64 if architecture == "arm64" else _make_armhf)(new, tell)
        tell(4)
        command = trial.command(_TRIED[architecture])
        own = [new / "root" / "usr" / "lib"] if architecture == "armhf" else []
        compile_code(command, trial.python, [*own, new / _SITE])
        tell(5)
        modules = [PACKAGES[name] for name in PACKAGES if name in trial.versions]
        try_imports(command, trial.sites, modules, trial.versions["numpy"])
        if architecture == "arm64":
            # Where both folders lie in the end: together they may be moved.
            (new / "root").unlink()
            (new / "root").symlink_to(Path("..", "arm64", "root"))
        made = replace(trial, folder=target, bytes=folder_size(new))
        write_record(new, asdict(made), _LAYOUT)
        os.sync()
        put(new, target, force=True, flush=False)
        tell(6)
    return made


def _make_arm64(new: Path, tell: Callable[[int], None]) -> LitertSysroot:
    """Wheels alone: the Python is that of the other sysroot."""
    python = setup_sysroot().python
    (new / "root").symlink_to(find_sysroot().folder / "root")
    tell(3)
    version, tested = python.removeprefix("python"), tested_versions()
    runtimes = [f"ai-edge-litert=={tested['ai-edge-litert']}"]
    if tuple(map(int, version.split("."))) <= _LAST_TFLITE:
        wanted = [*runtimes, _TFLITE, _NUMPY]
    else:
        wanted = [*runtimes, f"numpy=={tested['numpy']}"]
    wheels = install_wheels(new / _SITE, version, ("manylinux_2_34_aarch64", *AARCH64), wanted, options=("--no-deps",))
    # Of graphics cards, a fifth of everything.
    for file in (new / _SITE).rglob("libLiteRtWebGpuAccelerator.so"):
        file.unlink()
    _make_roots(new, "qemu-aarch64")
    return LitertSysroot(new, python, {}, wheels, 0, "arm64")


def _make_armhf(new: Path, tell: Callable[[int], None]) -> LitertSysroot:
    """Debian's Python and NumPy, and the one wheel that there is."""
    python, packages = unpack_python(new, "armhf", tell, _DEBIAN_NUMPY)
    version = python.removeprefix("python")
    if tuple(map(int, version.split("."))) > _LAST_TFLITE:
        raise MissingRequirementError(
            f"there is no LiteRT for 32-bit boards with {python}: tflite-runtime has wheels for Python 3.9 to 3.11, "
            "ai-edge-litert none; make it on Debian 12, or on Raspberry Pi OS bookworm, and copy its folder"
        )
    libraries = new / "root" / "usr" / "lib" / "arm-linux-gnueabihf"
    for library in _CHOSEN:
        (libraries / Path(library).name).symlink_to(library)
    tell(3)
    wheels = install_wheels(new / _SITE, version, ARMV7L, [_TFLITE], options=("--no-deps",))
    _make_roots(new, "qemu-arm")
    return LitertSysroot(new, python, packages, wheels, 0, "armhf")


def _make_roots(new: Path, program: str) -> None:
    for name, processor in PROCESSORS.items():
        if processor.emulator == program:
            make_root(new / "roots" / name, new / "root", name)
