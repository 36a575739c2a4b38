"""qdeploy itself onto a board: this machine's own files, and by the board's pip what they need, in a private folder."""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Sequence
from importlib import metadata
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from qdeploy import __version__
from qdeploy.runtime.errors import MissingRequirementError

from .board import OLDEST_PYTHON, PRIVATE, private_path
from .remote_folder import archive

if TYPE_CHECKING:
    from .board import Board
    from .connection import Connection

__all__ = ["check_python", "how_to_install", "install", "own_files"]

_PARTS = ("qdeploy", "qdeploy.export", "qdeploy.runtime")
"""What a board needs; torch layers and shipped checkpoints (``qdeploy.models``) stay here."""

_WIDE = ("onnxruntime", "ai-edge-litert")
"""They have wheels for 64-bit processors only; without them the reference computes."""

# Packages first: a folder that holds qdeploy is whole.
_PIP = (
    "{python} -m pip install --quiet --disable-pip-version-check --upgrade --target {folder} {packages} < /dev/null >&2"
)
_PLACE = """
folder={folder}
mkdir -p "$folder" && new=$(mktemp -d "$folder/.new-XXXXXXXXXX") || exit 1
tar -xf - -C "$new" || {{ rm -rf "$new"; exit 1; }}
rm -rf "$folder/qdeploy" "$folder"/qdeploy-*.dist-info
mv "$new"/* "$folder"/ && rm -rf "$new"
"""


def check_python(board: Board, where: object) -> None:
    """Refuses a board whose Python cannot run qdeploy.

    Raises:
        MissingRequirementError: no Python, or one that is too old.
    """
    if board.python is None or board.python_version is None:
        raise MissingRequirementError(
            f"{where}: no Python (python3) there; name one by --python, or test the C of the bundle without: --no-python"
        )
    numbers = tuple(int(part) for part in board.python_version.split(".")[:2])
    if numbers < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        raise MissingRequirementError(
            f"{where}: found Python {board.python_version} ({board.python}), expected {wanted} or newer; name another by "
            "--python, or test the C of the bundle without: --no-python"
        )


def how_to_install(board: Board, where: object) -> str:
    """What to do on a board that has Python but not qdeploy."""
    lacking = board.lacking()
    packages = f", nor {', '.join(lacking)}" if lacking else ""
    return (
        f"{where}: Python {board.python_version} has no qdeploy there{packages}; repeat with --install, which puts both into "
        f"~/{PRIVATE} and nowhere else, or install it there by pip; --no-python tests the C of the bundle without"
    )


def own_files() -> dict[str, bytes]:
    """The files of this package that a board needs, by their paths beneath ``site-packages``."""
    files: dict[str, bytes] = {}
    for part in _PARTS:
        _collect(importlib.resources.files(part), part.replace(".", "/"), files)
    # `qdeploy doctor` reads its requirements there. A checkout that was never built has them under the older name.
    distribution = metadata.distribution("qdeploy")
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
    if text is not None:
        files[f"qdeploy-{__version__}.dist-info/METADATA"] = text.encode()
    return files


def _collect(folder: Traversable, name: str, files: dict[str, bytes]) -> None:
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__" and path != "qdeploy/models":
                _collect(entry, path, files)
        elif not entry.name.endswith((".pyc", ".pyo")):
            files[path] = entry.read_bytes()


def install(connection: Connection, board: Board, *, timeout: float, runtimes: Sequence[str] | None = None) -> None:
    """Puts qdeploy into the private folder there, and by pip the packages that its Python lacks, also for these runtimes.

    Raises:
        MissingRequirementError: pip or the network is missing there, or the folder cannot be written.
    """
    folder = private_path(board.home)
    wide = board.machine in ("aarch64", "arm64", "x86_64", "AMD64")
    wanted = [name for name in board.lacking(runtimes) if wide or name not in _WIDE]
    if wanted:
        script = _PIP.format(
            python=shlex.quote(str(board.python)), folder=shlex.quote(folder), packages=shlex.join(wanted)
        )
        done = connection.run(script, timeout=timeout)
        if done.code:
            said = (done.err.strip() or "nothing").splitlines()[-1]
            raise MissingRequirementError(
                f"{connection.address}: pip could not install {', '.join(wanted)} (found: {said}); expected pip (Debian: "
                "sudo apt install python3-pip) and a way to the package index there"
            )
    done = connection.run(_PLACE.format(folder=shlex.quote(folder)), data=archive(own_files()), timeout=timeout)
    if done.code:
        said = (done.err.strip() or "nothing").splitlines()[-1]
        raise MissingRequirementError(f"{connection.address}: {folder} cannot be written: {said}")
