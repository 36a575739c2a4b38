"""Runs the commands of the documentation and writes their real output beneath them.

A ``console`` block of README.md or docs/ holds lines ``$ command`` and the output of each. All blocks of one page run
one after the other in an empty folder of their own; installations are left as they are, and so is ``make``, unless
``--make`` is given. Times differ from run to run, nothing else should.

Where a page pushes to ``board``, that is an ssh server on the loopback address (OpenSSH's sshd must be installed); where it
begins with ``<!-- board: pi4 -->``, Python and compiler there are those of an emulated Raspberry Pi 4 (after ``qdeploy board
setup``). A page finds the files of the folder of its own name.

    python scripts/docs_output.py [--make] [PAGE ...]
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
EMULATED = "<!-- board: pi4 -->"
SHOWN: dict[str, str] = {}
"""What is written instead of paths that a page's programs make up."""
SHOWN_LINES = 60
"""Longer outputs are cut, with a line that says so; all options of a command are shown."""


def commands_of(block: str) -> list[str]:
    """The commands of a block, a command that ends in a backslash with its next lines."""
    joined = re.sub(r"\\\n\s*", "\\\n    ", block)
    return re.findall(r"^\$ ((?:.*\\\n)*.*)$", joined, re.MULTILINE)


@contextmanager
def board(*, emulated: bool) -> Iterator[Path]:
    """A folder whose ``ssh`` knows a machine called ``board``: this one, or one with an emulated processor."""
    from tests.push.emulated import start_emulated_board
    from tests.push.server import start_board

    with tempfile.TemporaryDirectory() as place:
        server = (start_emulated_board if emulated else start_board)(Path(place) / "board")
        try:
            programs = Path(place) / "bin"
            programs.mkdir()
            ssh = programs / "ssh"
            ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(server.config))} "$@"\n')
            ssh.chmod(0o755)
            SHOWN[str(server.home)] = "/home/pi"
            yield programs
        finally:
            server.stop()


def output_of(command: str, folder: Path, programs: Path | None = None) -> str:
    """What the command prints, stdout and stderr as a person sees them, without this machine's paths."""
    first = [str(path) for path in (programs, Path(sys.executable).parent) if path is not None]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([*first, os.environ["PATH"]]),
        "COLUMNS": "110",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    text = done.stdout
    replacements = [
        *SHOWN.items(),
        (str(folder), "."),
        (str(ROOT), "."),
        (os.environ.get("QDEPLOY_DATA", ""), "~/data"),
        (str(Path.home()), "~"),
    ]
    for path, shown in replacements:
        if path:
            text = text.replace(path, shown)
    lines = [line.rstrip() for line in text.rstrip("\n").split("\n")]
    if len(lines) > SHOWN_LINES and not command.endswith("--help"):
        lines = [*lines[: SHOWN_LINES - 1], f"… {len(lines) - SHOWN_LINES + 1} more lines"]
    if done.returncode:
        lines.append(f"(exit code {done.returncode})")
    return "\n".join(line for line in lines if line or len(lines) > 1)


def refresh(page: Path, *, make: bool) -> None:
    """Run the page's commands and replace what stands beneath them."""
    if "$ qdeploy push" in page.read_text():
        with board(emulated=EMULATED in page.read_text()) as programs:
            refresh_with(page, make=make, programs=programs)
    else:
        refresh_with(page, make=make, programs=None)


def refresh_with(page: Path, *, make: bool, programs: Path | None) -> None:
    """The same, with programs that come before all others."""
    folder = ROOT / "build" / "docs" / page.stem
    shutil.rmtree(folder, ignore_errors=True)
    if page.with_suffix("").is_dir():
        shutil.copytree(page.with_suffix(""), folder)  # files that the page shows
    else:
        folder.mkdir(parents=True)

    def run(match: re.Match[str]) -> str:
        commands = commands_of(match[0])
        if any(command.startswith("pip ") or (command.startswith("make ") and not make) for command in commands):
            return match[0]
        parts = []
        for command in commands:
            print(f"{page.relative_to(ROOT)}: {command}", flush=True)
            output = output_of(command, ROOT if command.startswith("make ") else folder, programs)
            parts.append(f"$ {command}\n" + (f"{output}\n" if output else ""))
        return "\n".join(parts)

    page.write_text(BLOCK.sub(run, page.read_text()))


if __name__ == "__main__":
    given = [name for name in sys.argv[1:] if name != "--make"]
    pages = [Path(name).resolve() for name in given] or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        refresh(page, make="--make" in sys.argv)
