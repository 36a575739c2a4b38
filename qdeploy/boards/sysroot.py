"""The arm64 Python of emulated boards: made once, cached, without root, whole or absent.

``<cache>/arm64`` holds Debian's Python with its libraries, the wheels that a board installs, and for each processor a root
folder of links with what Linux tells of that processor in it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError
from qdeploy.runtime.staging import NEW, put, staging

from .cache import cache_folder, folder_size, read_record, take_away, write_record
from .debian_python import compile_code, require_programs, try_imports, unpack_python
from .roots import PROCESSORS, EmulatedPython, make_root
from .wheels import AARCH64, install_wheels

if TYPE_CHECKING:
    from qdeploy.progress import Progress

__all__ = [
    "Sysroot",
    "board_processor",
    "find_sysroot",
    "remove_sysroot",
    "setup_sysroot",
]

ARCHITECTURE = "arm64"
EMULATOR = "qemu-aarch64"
_WHEELS = ("numpy", "onnx", "onnxruntime")
"""What :mod:`qdeploy.runtime` needs with the engine ``onnxruntime``; pip brings what these need."""
_SITE = "opt/qdeploy/site"
_TRIED = "cortex-a72"
"""The processor on which it is tried: qemu runs all of them alike."""
#: Grows when what is made changes: an older sysroot is then made anew.
_LAYOUT = 1
_ADVICE = "make it with `qdeploy board setup` (about 60 MB to download, 220 MB on the disk, without root)"
_STAGES = ("package lists", "packages", "unpacking", "wheels", "byte code", "trial")


@dataclass(frozen=True)
class Sysroot(EmulatedPython):
    """The arm64 one, with onnxruntime."""

    @property
    def site(self) -> str:
        """Where the wheels lie, as the emulated Python sees it."""
        return f"/{_SITE}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "folder": str(self.folder)}

    def lines(self) -> list[str]:
        """For people."""
        wheels = ", ".join(f"{name} {self.wheels[name]}" for name in _WHEELS)
        return [
            f"{self.folder}: {self.bytes / 1e6:.0f} MB",
            f"{self.python} {self.packages[f'{self.python}-minimal']}, libc6 {self.packages['libc6']} ({ARCHITECTURE})",
            wheels,
        ]


def board_processor(board: str) -> str:
    """The processor of a board that runs an arm64 Python.

    Raises:
        InvalidInputError: there is no such board, or it has 32 bits or no operating system.
    """
    from qdeploy.export.c.targets import TARGETS

    processors = {
        name: target.emulator[-1]
        for name, target in TARGETS.items()
        if target.emulator is not None and target.emulator[0] == EMULATOR
    }
    if board not in processors:
        target = TARGETS.get(board)
        if target is None or (target.emulator is None and target.machine is None):
            what = "no board"
        else:
            what = "a microcontroller, which runs C" if target.microcontroller else "a 32-bit board"
        raise InvalidInputError(
            f"found the board {board!r}, {what}; a Python with onnxruntime runs on {', '.join(processors)}"
        )
    return processors[board]


def _target() -> Path:
    return cache_folder() / ARCHITECTURE


def find_sysroot() -> Sysroot:
    """The sysroot that ``setup`` made.

    Raises:
        MissingRequirementError: there is none, or one of an older layout.
    """
    folder = _target()
    try:
        return Sysroot(folder=folder, **read_record(folder, f"{ARCHITECTURE} Python", _LAYOUT, _ADVICE))
    except TypeError as error:
        raise MissingRequirementError(f"{folder} is damaged ({error}); {_ADVICE}") from error


def remove_sysroot() -> int:
    """Takes the sysroot away; gives the bytes that were freed, 0 where there was none."""
    return take_away(_target())


def setup_sysroot(*, force: bool = False, progress: Progress | None = None) -> Sysroot:
    """Makes the sysroot, or gives the one that is there unless ``force``.

    Raises:
        MissingRequirementError: a program, the network, a package or a wheel is missing; nothing is left behind.
    """
    if not force:
        try:
            return find_sysroot()
        except MissingRequirementError:
            pass
    require_programs(EMULATOR)
    target = _target()

    def tell(stage: int) -> None:
        if progress is not None:
            progress(f"arm64 Python: {_STAGES[min(stage, len(_STAGES) - 1)]}", stage, len(_STAGES))

    with staging(target) as place:
        new = place / NEW
        new.mkdir()
        python, packages = unpack_python(new, ARCHITECTURE, tell)
        root = new / "root"
        tell(3)
        wheels = _install(root / _SITE, python.removeprefix("python"))
        for name, processor in PROCESSORS.items():
            if processor.emulator == EMULATOR:
                make_root(new / "roots" / name, root, name)
        trial = Sysroot(new, python, packages, wheels, 0)
        tell(4)
        compile_code(trial.command(_TRIED), python, [root / "usr" / "lib", root / _SITE])
        tell(5)
        try_imports(trial.command(_TRIED), [trial.site], ("onnx", "onnxruntime"), wheels["numpy"])
        made = Sysroot(target, python, packages, wheels, folder_size(new))
        write_record(new, asdict(made), _LAYOUT)
        os.sync()
        put(new, target, force=True, flush=False)
        tell(6)
    return made


def _install(site: Path, python: str) -> dict[str, str]:
    """The wheels in the versions that the tests run with."""
    tested = resources.files("qdeploy") / "tested_versions.txt"
    with resources.as_file(tested) as constraints:
        return install_wheels(site, python, AARCH64, _WHEELS, options=("--constraint", str(constraints)))
