"""What this machine can run, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import textwrap
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

__all__ = ["OLDEST_ONNXRUNTIME", "DoctorReport", "Package", "examine", "processor_features"]

OLDEST_ONNXRUNTIME = "1.21"
"""Oldest onnxruntime that gives the right bits for bundles of both families, as scripts/oldest_versions.sh found.

1.20 has no unsigned 64-bit arithmetic.
"""

FEATURES = {
    "avx2": "AVX2",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX-INT8",
    "neon": "NEON",
    "asimd": "NEON",
    "asimddp": "dot product",
    "i8mm": "I8MM",
}
"""Names in /proc/cpuinfo -> what they are called; those that matter to integer products."""


_PURPOSES = {
    None: "to run bundles",
    "torch": "to capture and train torch models",
    "c": "to compile C for other machines",
    "litert": "to write and run .tflite files",
    "tflite": "to write and run .tflite files",
}
"""What the packages of an extra are for."""

_32_BITS = ("armv6l", "armv7l")
"""Machines that have wheels of tflite-runtime only."""


@dataclass(frozen=True)
class Package:
    """A package: installed version (None: absent), lowest allowed, the one tested, and the extra that asks for it."""

    name: str
    installed: str | None
    minimum: str | None
    tested: str | None
    extra: str | None

    @property
    def state(self) -> str:
        """``ok``, ``absent`` or ``too old``."""
        if self.installed is None:
            return "absent"
        if self.minimum is not None and _numbers(self.installed) < _numbers(self.minimum):
            return "too old"
        return "ok"


@dataclass(frozen=True)
class DoctorReport:
    """What was found; ``missing`` says in words what to do."""

    qdeploy: str
    python: str
    platform: str
    processor: str
    cores: int
    features: tuple[str, ...]
    packages: tuple[Package, ...]
    runtimes: dict[str, str | None]
    emulators: dict[str, str | None]
    oldest_onnxruntime: str
    data_folder: str
    datasets: dict[str, str | None]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        for entry, package in zip(values["packages"], self.packages, strict=True):
            entry["state"] = package.state
        return values

    def lines(self) -> list[str]:
        """Lines for people."""
        width = max(len(package.name) for package in self.packages)
        lines = [
            f"qdeploy    {self.qdeploy} on Python {self.python}, {self.platform}",
            f"processor  {self.processor}, {self.cores} cores"
            + (f" ({', '.join(self.features)})" * bool(self.features)),
            "",
            f"{'package':<{width}}  {'installed':<12}{'at least':<10}{'tested':<10}".rstrip(),
        ]
        for package in self.packages:
            installed = package.installed or "-"
            mark = "" if package.state == "ok" else f"  {package.state}"
            extra = f"  [{package.extra}]" if package.extra else ""
            row = f"{package.name:<{width}}  {installed:<12}{package.minimum or '':<10}{package.tested or '':<10}"
            lines.append(f"{row}{extra}{mark}".rstrip())
        lines += ["", "runtimes"]
        lines += [f"  {name:<12} {version or 'not installed'}" for name, version in self.runtimes.items()]
        lines += [f"  oldest onnxruntime known to work: {self.oldest_onnxruntime}", "", "emulators of boards"]
        lines += [f"  {name:<16} {path or 'not installed'}" for name, path in self.emulators.items()]
        lines += ["", f"data in {self.data_folder}"]
        lines += [
            f"  {name:<18} {'there' if problem is None else 'not there'}" for name, problem in self.datasets.items()
        ]
        lines += ["", "missing" if self.missing else "nothing is missing"]
        lines += [
            textwrap.fill(text, 110, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
            for text in self.missing
        ]
        return lines


def examine() -> DoctorReport:
    """Look at the interpreter, the processor, the packages, the engines and the data folder. Changes nothing."""
    from . import __version__
    from .datasets import names
    from .datasets.mnist import data_folder
    from .listing import missing_dataset
    from .runtime.engines import available

    processor, features = processor_features()
    packages = _packages()
    runtimes = available()
    datasets = {name: missing_dataset(name) for name in names()}
    folder = str(data_folder())
    return DoctorReport(
        qdeploy=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=processor,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        features=features,
        packages=packages,
        runtimes=runtimes,
        emulators=_emulators(),
        oldest_onnxruntime=OLDEST_ONNXRUNTIME,
        data_folder=folder,
        datasets=datasets,
        missing=_missing(packages, datasets),
    )


def _emulators() -> dict[str, str | None]:
    """The programs that emulate targets of C, with their paths."""
    from .export.c.targets import TARGETS

    commands = [target.emulator or target.machine for target in TARGETS.values()]
    return {name: shutil.which(name) for name in dict.fromkeys(command[0] for command in commands if command)}


def _missing(packages: tuple[Package, ...], datasets: dict[str, str | None]) -> tuple[str, ...]:
    texts = []
    for extra in dict.fromkeys(package.extra for package in packages):
        names = [package.name for package in packages if package.extra == extra and package.state != "ok"]
        if names:
            purpose = _PURPOSES.get(extra, f"[{extra}]")
            target = f"'qdeploy[{extra}]'" if extra else "--upgrade qdeploy"
            texts.append(f"{', '.join(names)}, {purpose}: pip install {target}")
    texts += _unusable_litert()
    if sys.version_info[:2] > (3, 13):
        texts.append("Python 3.11 to 3.13 are declared; this one is newer")
    problems = dict.fromkeys(problem for problem in datasets.values() if problem is not None)
    return (*texts, *problems)


def _unusable_litert() -> list[str]:
    """Why a package of LiteRT that is installed does not run."""
    from .runtime import litert_interpreter
    from .runtime.errors import MissingRequirementError

    if not any(map(_installed, litert_interpreter.PACKAGES)):
        return []
    try:
        litert_interpreter.version()
    except MissingRequirementError as error:
        return [str(error)]
    return []


def _litert_extra() -> str:
    """Which of LiteRT's two packages this machine has, or can have."""
    if _installed("ai-edge-litert") is not None:
        return "litert"
    return "tflite" if _installed("tflite-runtime") is not None or platform.machine() in _32_BITS else "litert"


def _packages() -> tuple[Package, ...]:
    """The direct requirements of the base, of ``[torch]``, ``[c]`` and LiteRT, from this package's own metadata."""
    found: list[Package] = []
    extras = _PURPOSES.keys() - ({"litert", "tflite"} - {_litert_extra()})
    tested = _tested()
    for text in metadata.requires("qdeploy") or []:
        requirement, _, marker = text.partition(";")
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        name_match = re.match(r"[\w.-]+", requirement)
        if name_match is None or (extra is not None and extra[1] not in extras):
            continue
        name = name_match[0]
        if any(package.name == name for package in found):
            # The extra asks for an older one.
            continue
        minimum = re.search(r">=\s*([\w.]+)", requirement)
        found.append(
            Package(name, _installed(name), minimum and minimum[1], tested.get(name.lower()), extra and extra[1])
        )
    return tuple(found)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _tested() -> dict[str, str]:
    text = resources.files("qdeploy").joinpath("tested_versions.txt").read_text(encoding="utf-8")
    pairs = (line.split("==") for line in text.splitlines() if "==" in line)
    return {name.lower(): version for name, version in pairs}


def processor_features() -> tuple[str, tuple[str, ...]]:
    """Name and features from /proc/cpuinfo where there is one."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), ()
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    known = flags[1].split() if flags else []
    features = tuple(dict.fromkeys(label for key, label in FEATURES.items() if key in known))
    return (name[1].strip() if name else platform.machine()), features


def _numbers(version: str) -> tuple[int, ...]:
    """``1.20.1rc1`` -> (1, 20, 1): enough to compare with a lowest version."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
