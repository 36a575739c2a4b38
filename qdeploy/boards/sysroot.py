"""The arm64 Python of emulated boards: made once, cached, without root, whole or absent.

``<cache>/arm64`` holds Debian's Python with its libraries, the wheels that a board installs, and for each processor a root
folder of links with the ``/proc/cpuinfo`` of that processor in it: onnxruntime chooses its kernels by that file and dies on
one of another architecture.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError
from qdeploy.runtime.staging import NEW, put, staging, write_bytes

from .packages import PackageSource
from .programs import emulator, find

if TYPE_CHECKING:
    from qdeploy.progress import Progress

__all__ = [
    "PROCESSORS",
    "Sysroot",
    "board_processor",
    "cache_folder",
    "find_sysroot",
    "remove_sysroot",
    "setup_sysroot",
]

ARCHITECTURE = "arm64"
PROCESSORS = {"cortex-a53": 0xD03, "cortex-a72": 0xD08, "cortex-a76": 0xD0B}
"""Processors of 64-bit boards, as qemu names them -> ARM's part number, which stands in /proc/cpuinfo."""

_FEATURES = {
    "cortex-a53": "fp asimd evtstrm crc32 cpuid",
    "cortex-a72": "fp asimd evtstrm crc32 cpuid",
    "cortex-a76": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
}
"""What the boards' Linux lists."""

_LIBRARIES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8")
_WHEELS = ("numpy", "onnx", "onnxruntime")
"""What :mod:`qdeploy.runtime` needs with the engine ``onnxruntime``; pip brings what these need."""
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_SITE = "opt/qdeploy/site"
_LARGEST_WHEELS = 600 << 20
"""Bound on the installed wheels, in bytes: they are 170 MB."""
#: Grows when what is made changes: an older sysroot is then made anew.
_LAYOUT = 1
_ADVICE = "make it with `qdeploy board setup` (about 60 MB to download, 220 MB on the disk, without root)"
_STAGES = ("package lists", "packages", "unpacking", "wheels", "byte code", "trial")


@dataclass(frozen=True)
class Sysroot:
    """What was made, and of which versions."""

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
        words = emulator(("qemu-aarch64", "-cpu", processor))
        return [*words, "-L", str(root), str(root / "usr" / "bin" / self.python), "-I", "-S", "-B"]

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


def cache_folder() -> Path:
    """Where boards' files lie: ``$XDG_CACHE_HOME/qdeploy/boards``, by default ``~/.cache/qdeploy/boards``."""
    value = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says that a relative path is to be ignored.
    root = Path(value) if Path(value).is_absolute() else Path.home() / ".cache"
    return root / "qdeploy" / "boards"


def board_processor(board: str) -> str:
    """The processor of a board that runs an arm64 Python.

    Raises:
        InvalidInputError: there is no such board, or it has 32 bits or no operating system.
    """
    from qdeploy.export.c.targets import TARGETS

    processors = {
        name: target.emulator[-1]
        for name, target in TARGETS.items()
        if target.emulator is not None and target.emulator[-1] in PROCESSORS
    }
    if board not in processors:
        what = "a 32-bit board or a microcontroller, which runs C" if board in TARGETS else "no board"
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
        found = json.loads((folder / "sysroot.json").read_text(encoding="utf-8"))
        if found.pop("layout") != _LAYOUT:
            raise MissingRequirementError(f"{folder} is of another version of qdeploy; {_ADVICE}")
        return Sysroot(folder=folder, **found)
    except FileNotFoundError as error:
        raise MissingRequirementError(f"there is no {ARCHITECTURE} Python at {folder}; {_ADVICE}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingRequirementError(f"{folder} is damaged ({error}); {_ADVICE}") from error


def remove_sysroot() -> int:
    """Takes the sysroot away; gives the bytes that were freed, 0 where there was none."""
    folder = _target()
    freed = _size(folder)
    if folder.exists():
        with staging(folder) as place:
            # Out of sight at once: nobody meets half of it.
            folder.rename(place / NEW)
    return freed


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
    for program in ("apt-get", "apt-cache", "apt-config", "dpkg-deb", "qemu-aarch64"):
        find(program)
    target = _target()

    def tell(stage: int) -> None:
        if progress is not None:
            progress(f"arm64 Python: {_STAGES[min(stage, len(_STAGES) - 1)]}", stage, len(_STAGES))

    with staging(target) as place:
        new = place / NEW
        new.mkdir()
        root = new / "root"
        root.mkdir()
        source = PackageSource(new / "apt", ARCHITECTURE)
        source.folder.mkdir()
        tell(0)
        source.update()
        tell(1)
        python = source.python()
        packages = source.fetch(
            [*_LIBRARIES, f"lib{python}-minimal", f"lib{python}-stdlib", f"{python}-minimal"],
        )
        tell(2)
        source.unpack(root)
        shutil.rmtree(source.folder)
        # Manuals and licences, with links to packages that are not here.
        shutil.rmtree(root / "usr" / "share")
        if not (root / "lib").exists():
            # Newer Debians have everything below usr, and a link that belongs to another package.
            (root / "lib").symlink_to("usr/lib")
        tell(3)
        wheels = _install_wheels(root / _SITE, python.removeprefix("python"))
        for processor in PROCESSORS:
            _make_root(new / "roots" / processor, root, processor)
        trial = Sysroot(new, python, packages, wheels, 0)
        tell(4)
        _compile(trial, root)
        tell(5)
        _try(trial)
        made = Sysroot(target, python, packages, wheels, _size(new))
        values = {name: value for name, value in asdict(made).items() if name != "folder"} | {"layout": _LAYOUT}
        write_bytes(new / "sysroot.json", json.dumps(values, indent=2).encode())
        os.sync()
        put(new, target, force=True, flush=False)
        tell(6)
    return made


def _make_root(folder: Path, root: Path, processor: str) -> None:
    """A root folder of links to ``root``, with the processor's /proc/cpuinfo."""
    (folder / "proc").mkdir(parents=True)
    for entry in sorted(root.iterdir()):
        (folder / entry.name).symlink_to(Path("..") / ".." / root.name / entry.name)
    core = [
        "BogoMIPS\t: 108.00",
        f"Features\t: {_FEATURES[processor]}",
        "CPU implementer\t: 0x41",
        "CPU architecture: 8",
        "CPU variant\t: 0x0",
        f"CPU part\t: {PROCESSORS[processor]:#x}",
        "CPU revision\t: 3",
        "",
        "",
    ]
    # All four boards have four cores.
    text = "".join("\n".join([f"processor\t: {number}", *core]) for number in range(4))
    (folder / "proc" / "cpuinfo").write_text(text)


def _install_wheels(site: Path, python: str) -> dict[str, str]:
    """pip, with the machine's own configuration; it checks each wheel's SHA-256. Gives the versions."""
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    words += ["--target", str(site), "--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    for platform in _PLATFORMS:
        words += ["--platform", platform]
    tested = resources.files("qdeploy") / "tested_versions.txt"
    with resources.as_file(tested) as constraints:
        done = subprocess.run(  # noqa: S603 (this Python)
            [*words, "--constraint", str(constraints), *_WHEELS], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        text = "\n".join(["the wheels for aarch64 could not be installed", *(f"  {line}" for line in said)])
        raise MissingRequirementError(
            f"{text}\n  look at the network and at pip's settings (pip config list), and repeat"
        )
    size = _size(site)
    if size > _LARGEST_WHEELS:
        raise MissingRequirementError(
            f"the wheels are {size >> 20} MiB, expected at most {_LARGEST_WHEELS >> 20}; look at where pip takes them from"
        )
    names = (path.name.removesuffix(".dist-info").rpartition("-") for path in sorted(site.glob("*.dist-info")))
    return {name: version for name, _, version in names}


def _compile(sysroot: Sysroot, root: Path) -> None:
    """Byte code for the emulated Python, which is ten times as slow at making its own."""
    if sysroot.python == f"python{sys.version_info.major}.{sys.version_info.minor}":
        compileall.compile_dir(root, quiet=2, workers=0)
        return
    # Byte code is of one version: only that Python can make it.
    # By their paths on this machine: the emulator would write a new file of another root to this machine's own folders.
    folders = [str(root / "usr" / "lib" / sysroot.python), str(root / _SITE)]
    words = [*sysroot.command("cortex-a72"), "-m", "compileall", "-q", *folders]
    # Files of other Pythons' syntax among the tests of packages do not compile; nobody imports them.
    subprocess.run(words, capture_output=True, check=False)  # noqa: S603 (our own emulated Python)


def _try(sysroot: Sysroot) -> None:
    """Whether what was made starts and imports."""
    script = f"import sys; sys.path.append({sysroot.site!r}); import numpy, onnx, onnxruntime; print(numpy.__version__)"
    done = subprocess.run(  # noqa: S603 (our own emulated Python)
        [*sysroot.command("cortex-a72"), "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"ORT_DISABLE_TELEMETRY": "1"},
    )
    if done.returncode != 0 or done.stdout.strip() != sysroot.wheels["numpy"]:
        said = done.stderr.strip().splitlines()[-3:] or [f"it ended with {done.returncode}"]
        raise MissingRequirementError(
            "\n".join(["the emulated Python does not start", *(f"  {line}" for line in said)])
        )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
