"""Inputs as folders of files, and what a file system can put in place of a plain file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A folder where a file should be."""


@dataclass(frozen=True)
class Pipe:
    """A named pipe that nobody writes."""


#: What stands under each name.
Files: TypeAlias = dict[str, "bytes | Link | Folder | Pipe"]


def mutate_files(random: Random, files: Files) -> Files:
    """One entry is missing, empty, a folder, a link or a pipe, or two change places."""
    changed = dict(files)
    name = random.choice(sorted(changed))
    kind = random.randrange(8)
    if kind == 0:
        del changed[name]
    elif kind == 1:
        changed[name] = b""
    elif kind == 2:
        changed[name] = Folder()
    elif kind == 3:
        changed[name] = Link(random.choice(("/etc/passwd", "../outside.bin", name, "nowhere", "/dev/zero", ".")))
    elif kind == 4:
        changed[name] = Pipe()
    elif kind == 5:
        other = random.choice(sorted(changed))
        changed[name], changed[other] = changed[other], changed[name]
    elif kind == 6:
        changed["elsewhere"] = changed[name]
        changed[name] = Link("elsewhere")
    else:
        changed[random.choice(("extra.txt", "model.onnx.data", "__init__.py", ".hidden", "é.npz"))] = random.randbytes(
            9
        )
    return changed


def write_files(folder: Path, files: Files) -> None:
    """Makes ``folder`` hold exactly ``files``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        elif isinstance(content, Folder):
            path.mkdir()
        elif isinstance(content, Pipe):
            os.mkfifo(path)
        else:
            path.write_bytes(content)
