"""A Raspberry Pi 4 behind the ssh server on the loopback address: its Python and its programs run on an emulated processor.

Its shell and its small programs are this machine's. ``python3`` is the arm64 Python of ``qdeploy board setup``, with LiteRT where
that was made too, and ``cc`` is ``zig cc`` for that processor; what it builds is started by qemu.
"""

from __future__ import annotations

import os
import shlex
from importlib import metadata
from pathlib import Path

from qdeploy.boards.litert_sysroot import find_litert
from qdeploy.boards.programs import emulator
from qdeploy.boards.sysroot import find_sysroot
from qdeploy.export.c.build import compiler
from qdeploy.runtime.errors import MissingRequirementError

from .server import Board, start_board

__all__ = ["litert_sites", "start_emulated_board"]

PURE = ("click", "rich", "markdown-it-py", "mdurl", "pygments", "flatbuffers")
"""What the command line needs besides the sysroot's wheels; these have no code of a processor."""

# Named as this script, it finds itself where it starts a Python of its own.
_PYTHON = """#!/bin/sh
export PYTHONHOME=/usr PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{path}" PYTHONDONTWRITEBYTECODE=1
exec {command} -S "$@"
"""

_UNAME = """#!/bin/sh
case "$1" in -m) echo aarch64 ;; *) exec /usr/bin/uname "$@" ;; esac
"""

# Its "native" processor is the emulated one, which the compiler is told anyway. A program that it links becomes a script
# that starts it under qemu; a shared library is left as it is.
_COMPILER = """#!/bin/sh
unset PYTHONHOME PYTHONPATH
export ZIG_GLOBAL_CACHE_DIR={cache}
shared= made=a.out last=
for word in "$@"; do
  shift
  case "$word" in -mcpu=native | -march=native) continue ;; -shared | -c | --version) shared=yes ;; esac
  [ "$last" = -o ] && made=$word
  last=$word
  set -- "$@" "$word"
done
if [ -n "$shared" ]; then exec {library} "$@"; fi
{program} -static "$@" || exit 1
mv "$made" "$made.aarch64"
printf '#!/bin/sh\\nexec %s "$(dirname "$0")/%s.aarch64" "$@"\\n' {emulator} "$(basename "$made")" > "$made"
chmod 755 "$made"
"""


def litert_sites() -> list[str]:
    """The folders of LiteRT for this Python, none where ``qdeploy board setup`` made no LiteRT."""
    try:
        return find_litert("arm64").sites
    except MissingRequirementError:
        return []


def start_emulated_board(folder: Path, processor: str = "cortex-a72") -> Board:
    """Starts the server in an empty folder.

    Raises:
        MissingRequirementError: no emulator, no ``ziglang``, or ``qdeploy board setup`` was never run.
    """
    sysroot = find_sysroot()
    board = start_board(folder, python=None, greets=False)
    pure = folder / "pure"
    pure.mkdir()
    for name in PURE:
        distribution = metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or () if path.parts[0] not in ("..", "__pycache__")}:
            (pure / top).symlink_to(Path(str(distribution.locate_file(top))))
    command = [word for word in sysroot.command(processor) if word not in ("-I", "-S", "-B")]
    name = str(board.programs / "python3")
    board.put_program(
        "python3",
        # The older NumPy beside LiteRT, for tflite-runtime, is hidden by the newer one.
        _PYTHON.format(
            path=":".join([sysroot.site, str(pure), *litert_sites()]),
            command=shlex.join([command[0], "-0", name, *command[1:]]),
        ),
    )
    library = compiler("pi4")
    program = [word.replace("-linux-gnu.2.31", "-linux-musl") for word in library]
    cache = os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(Path.home() / ".cache" / "zig"))
    text = _COMPILER.format(
        cache=shlex.quote(cache),
        library=shlex.join(library),
        program=shlex.join(program),
        emulator=shlex.quote(shlex.join(emulator(("qemu-aarch64", "-cpu", processor)))),
    )
    board.put_program("cc", text)
    board.put_program("uname", _UNAME)
    for name in ("dirname", "basename", "ls", "head"):
        (board.programs / name).symlink_to(f"/usr/bin/{name}")
    return board
