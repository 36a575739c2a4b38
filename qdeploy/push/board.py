"""What a board is: processor, system, Python with its packages, compiler."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from qdeploy.runtime.errors import MissingRequirementError

from .connection import Connection

__all__ = ["LITERT_PACKAGES", "OLDEST_PYTHON", "PACKAGES", "PRIVATE", "Board", "examine_board", "private_path"]

OLDEST_PYTHON = (3, 11)
PACKAGES = ("numpy", "onnx", "click", "rich", "onnxruntime")
"""What qdeploy needs to run bundles; onnxruntime where it has wheels."""

LITERT_PACKAGES = ("ai-edge-litert", "flatbuffers")
"""What the runtime litert needs besides."""

PRIVATE = ".local/share/qdeploy/push"
"""Beneath the home folder there: where ``--install`` puts qdeploy, and what its Python lacks. Nothing else is touched."""

_EXAMINE = """
printf 'machine %s\\n' "$(uname -m)"
printf 'system %s\\n' "$(uname -sr)"
printf 'home %s\\n' "$HOME"
if [ -r /proc/device-tree/model ]; then printf 'model %s\\n' "$(tr -d '\\000' < /proc/device-tree/model)"; fi
for name in cc gcc clang; do
  if command -v "$name" > /dev/null 2>&1; then printf 'compiler %s\\n' "$name"; break; fi
done
"""

_FIND_PYTHON = """
for name in {names}; do
  found=$(command -v "$name" 2> /dev/null) || continue
  path="$HOME/{private}${{PYTHONPATH:+:$PYTHONPATH}}"
  PYTHONPATH="$path" "$found" -c {code} 2> /dev/null && printf 'python %s\\n' "$found" && break
done
:
"""

# Packages are looked up, not imported: an onnxruntime of another processor kills the process that imports it.
_PYTHON_CODE = """
import importlib.metadata as metadata, importlib.util as util, json, platform, sys
found = {}
for name in %r:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = None
if util.find_spec("qdeploy") is None:
    found["qdeploy"] = None
print("packages", json.dumps({"version": platform.python_version(), "machine": platform.machine(), **found}))
"""


def private_path(home: str) -> str:
    """The private folder there."""
    return f"{home}/{PRIVATE}"


@dataclass(frozen=True)
class Board:
    """A board, as it says of itself.

    Attributes:
        machine: the processor's architecture (``aarch64``, ``armv7l``, ``x86_64``).
        system: kernel and its release.
        model: the board's name where the kernel knows one (Raspberry Pi 4 Model B Rev 1.4).
        home: the user's home folder.
        looked_for_python: whether the next three were asked for.
        python: the interpreter's path, None where there is none.
        python_version: of it.
        packages: version of qdeploy and what it needs; None where one is missing.
        compiler: a C compiler's name, None where there is none.
    """

    machine: str
    system: str
    model: str | None
    home: str
    looked_for_python: bool = True
    python: str | None = None
    python_version: str | None = None
    packages: dict[str, str | None] = field(default_factory=dict)
    compiler: str | None = None

    @property
    def has_qdeploy(self) -> bool:
        """Whether bundles can be verified there by Python."""
        return self.python is not None and all(
            self.packages.get(name) for name in ("qdeploy", "numpy", "onnx", "click", "rich")
        )

    def lacking(self, runtimes: Sequence[str] | None = None) -> tuple[str, ...]:
        """Packages that are not installed there, for qdeploy and, where they are named, for these runtimes."""
        needed = (*PACKAGES, *LITERT_PACKAGES) if "litert" in (runtimes or ()) else PACKAGES
        return tuple(name for name in needed if not self.packages.get(name))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        parts = [self.model or self.machine, self.system]
        if self.python is not None:
            known = [
                f"{name} {version}"
                for name, version in self.packages.items()
                if version and name in ("qdeploy", "numpy", "onnxruntime", "ai-edge-litert")
            ]
            parts.append(f"Python {self.python_version}" + (f" with {', '.join(known)}" if known else ""))
        elif self.looked_for_python:
            parts.append("no Python")
        parts.append(f"C compiler {self.compiler}" if self.compiler else "no C compiler")
        return [", ".join(parts)]


def examine_board(connection: Connection, *, python: str | None, look_for_python: bool, timeout: float) -> Board:
    """Asks the board what it is. Nothing is written there.

    Args:
        connection: to it.
        python: the interpreter to take, by name or path; None for ``python3``.
        look_for_python: whether one is wanted at all.
        timeout: seconds.

    Raises:
        MissingRequirementError: it cannot be reached, or is no such system.
    """
    script = _EXAMINE
    if look_for_python:
        names = " ".join(shlex.quote(name) for name in ((python,) if python else ("python3", "python")))
        code = shlex.quote(_PYTHON_CODE % ((*PACKAGES, *LITERT_PACKAGES, "qdeploy"),))
        script += _FIND_PYTHON.format(names=names, private=PRIVATE, code=code)
    done = connection.run(script, timeout=timeout)
    facts = dict(line.split(" ", 1) for line in done.out.splitlines() if " " in line)
    if not facts.get("home", "").startswith("/") or "machine" not in facts:
        raise MissingRequirementError(
            f"{connection.address}: found {done.out.strip() or done.err.strip() or 'nothing'!r}, expected a Linux or other POSIX "
            "system with a home folder"
        )
    packages: dict[str, Any] = json.loads(facts["packages"]) if "python" in facts and "packages" in facts else {}
    version = packages.pop("version", None)
    return Board(
        machine=packages.pop("machine", None) or facts["machine"],
        system=facts.get("system", ""),
        model=facts.get("model"),
        home=facts["home"],
        looked_for_python=look_for_python,
        python=facts.get("python") if version else None,
        python_version=version,
        packages=packages,
        compiler=facts.get("compiler"),
    )
