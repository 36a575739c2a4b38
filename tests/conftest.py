"""What all tests share: markers that leave tests out by name and reason, and a closing summary of what was left out."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from qdeploy.boards.sysroot import Sysroot

# Whoever runs the tests twice gets the same verdict twice; `make properties` draws anew.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.register_profile("anew", max_examples=500, deadline=None)
settings.load_profile("repeatable")

# Official onnxruntime wheels report usage unless told otherwise; it is read when the package is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# What `pip install 'qdeploy[torch,keras]'` brings and a board has not.
OPTIONAL = ("torch", "onnxscript", "onnx_ir", "safetensors", "sklearn", "matplotlib", "h5py")

# Where the programs that tests may ask for come from.
PACKAGES = {
    "clang": "clang",
    "cmake": "cmake",
    "gcc": "gcc",
    "g++": "g++",
    "qemu-aarch64": "qemu-user",
    "qemu-arm": "qemu-user",
    "qemu-system-arm": "qemu-system-arm",
    "sshd": "openssh-server",
}
# An ordinary user's PATH seldom has the folders of system programs.
PROGRAMS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


class TestFile(pytest.Module):
    """A file of tests. Where an optional package that it imports is not installed, the file is left out by name."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return list(super().collect())
        except Exception as error:
            name = _lacking(error)
            if name is None:
                raise
            pytest.skip(_not_installed(name), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    return TestFile.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run, each with its reason; of several processes each begins with long files."""
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    compilers = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
    for item in items:
        if item.get_closest_marker("cc") and not compilers:
            item.add_marker(pytest.mark.skip(reason="no C compiler (Linux package gcc)"))
        if item.get_closest_marker("qemu") and qemu is None:
            item.add_marker(pytest.mark.skip(reason="no qemu-x86_64 (Linux package qemu-user)"))
        for marker in item.iter_markers("program"):
            name = marker.args[0]
            if shutil.which(name, path=PROGRAMS) is None and shutil.which(f"{name}-static") is None:
                item.add_marker(pytest.mark.skip(reason=f"no {name} (Linux package {PACKAGES[name]})"))
        if item.get_closest_marker("litert") and not any(map(find_spec, ("ai_edge_litert", "tflite_runtime"))):
            item.add_marker(pytest.mark.skip(reason="neither ai-edge-litert nor tflite-runtime is installed"))
        for marker in item.iter_markers("needs"):
            if find_spec(marker.args[0]) is None:
                item.add_marker(pytest.mark.skip(reason=_not_installed(marker.args[0])))
        for marker in item.iter_markers("data"):
            if _missing(marker.args[0]) is not None:
                item.add_marker(
                    pytest.mark.skip(reason=f"no data: the files of {marker.args[0]} are not in QDEPLOY_DATA")
                )
    if hasattr(config, "workerinput"):
        # pytest-xdist hands files out in this order: a long one at the end would leave the other processes idle.
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)


def _lacking(error: BaseException | None) -> str | None:
    """The optional package whose absence is behind the error; an import that fails for another reason stays an error."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            name = (error.name or "").partition(".")[0]
            if name in OPTIONAL and find_spec(name) is None:
                return name
        error = error.__cause__
    return None


def _not_installed(name: str) -> str:
    # As pytest.importorskip says it, so that the closing summary has one line for both.
    return f"could not import {name!r}: No module named {name!r}"


@cache
def _missing(name: str) -> str | None:
    from qdeploy.listing import missing_dataset

    return missing_dataset(name)


@pytest.fixture(scope="session")
def arm64_python() -> Sysroot:
    """The Python of emulated boards in the user's cache, as ``qdeploy board setup`` makes it: one process does, others wait.

    Without the network or apt the tests that want it are left out.
    """
    from qdeploy.boards.cache import cache_folder
    from qdeploy.boards.sysroot import setup_sysroot
    from qdeploy.runtime.errors import MissingRequirementError

    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / ".tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return setup_sysroot()
        except MissingRequirementError as error:
            pytest.skip(f"no arm64 Python for emulated boards: {str(error).splitlines()[0]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left out and why, whatever the verbosity."""
    reasons: dict[str, Counter[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            reasons.setdefault(reason, Counter())["file" if isinstance(report, pytest.CollectReport) else "test"] += 1
    if not reasons:
        terminalreporter.write_line("left out: nothing")
    for reason, counts in sorted(reasons.items(), key=lambda entry: -entry[1].total()):
        what = " and ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in sorted(counts.items()))
        terminalreporter.write_line(f"left out: {what}: {reason}")
