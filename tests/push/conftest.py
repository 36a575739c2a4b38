"""A board on the loopback address, a small bundle, and the command line in this process."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import qdeploy
from qdeploy.cli.group import run

from .server import Board, start_board


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)


# A Python that starts at once and finds every bundle right, for tests of what happens around it.
_PACKAGES = {
    "version": "3.11.2",
    "machine": "test",
    "qdeploy": qdeploy.__version__,
    "numpy": "2",
    "onnx": "1",
    "click": "8",
    "rich": "13",
    "onnxruntime": "1.21",
}
_PASSED = {"passed": True, "compared_integers": 9, "mismatched_integers": 0, "voices": []}
_YES = f"""#!/bin/sh
case "$1" in -c) echo 'packages {json.dumps(_PACKAGES)}' ;; *) echo '{json.dumps(_PASSED)}' ;; esac
"""

REAL = ("--python", "real-python")
"""The board's Python that computes."""


@pytest.fixture(scope="session")
def board(tmp_path_factory):
    started = start_board(tmp_path_factory.mktemp("board") / "a board")
    started.put_program("real-python", (started.programs / "python3").read_text())
    started.put_program("python3", _YES)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def bare_board(tmp_path_factory):
    """A board with a handful of small programs: no Python, no compiler."""
    started = start_board(tmp_path_factory.mktemp("bare") / "board", python=None)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A linear layer."""
    folder = tmp_path_factory.mktemp("bundle")
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 18]>
        small (float[batch, 8] x) => (float[batch, 3] logits) { logits = MatMul(x, weight) }""")
    rng = np.random.default_rng(1)
    model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=(8, 3)).astype(np.float32), "weight"))
    onnx.save(model, folder / "net.onnx")
    np.savez(folder / "data.npz", x=rng.random((16, 8), dtype=np.float32))
    words = ["export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "a net", "-q"]
    assert run([str(word) for word in words]) == 0
    return folder / "a net"


@pytest.fixture
def push_to(board: Board, bundle: Path, tmp_path: Path, capsys):
    """``qdeploy push`` to the board, quick unless told otherwise; the report goes into the test's folder."""

    def call(*options: object, address: str = "board", config: Path | None = None) -> Done:
        words = [
            "push",
            bundle,
            address,
            "--ssh-config",
            config or board.config,
            "-o",
            tmp_path / "report.json",
            *options,
        ]
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    yield call
    for entry in board.home.iterdir():
        shutil.rmtree(entry)


QUICK = ("--runtime", "bodies", "--samples", 2, "--no-bench", "--json")


def folders_left(board: Board) -> list[str]:
    """What pushes left in the home folder there."""
    return sorted(path.name for path in board.home.iterdir() if path.name.startswith(".qdeploy-push-"))


def processes_with(text: str) -> list[int]:
    """Processes whose command line holds the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(entry.name))
    return found
