"""Bundles on an emulated 64-bit board: the real onnxruntime for arm64 gives the reference's bits."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing

import numpy as np
import onnx
import pytest

from qdeploy.boards import open_board
from qdeploy.boards.machine import HERE
from qdeploy.cli.group import run
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import ContractError, InvalidInputError

from .conftest import GOLDEN

BUNDLE = GOLDEN / "lstm-state8.zip"


def test_a_bundle_verifies_on_pi4(sysroot, capsys):
    code = run(["verify", str(BUNDLE), "--board", "pi4", "--runtime", "onnxruntime", "--samples", "8", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0, report
    assert report["mismatched_integers"] == 0
    names = {voice["name"]: voice for voice in report["voices"]}
    for how in ("plain, 1 thread", "optimized, 2 threads", "file as shipped"):
        voice = names[f"onnxruntime on pi4, {how}"]
        assert voice["version"] == sysroot.wheels["onnxruntime"]
        assert voice["compared_integers"] > 2000
    assert report["cases"]["golden"] == 2


def test_engines_of_the_board(sysroot):
    """Errors come over by their kind; a process that died is an error, and the next call starts another."""
    files = read_bundle(BUNDLE)
    feeds = dict(files.vectors()["extremes"].inputs if "extremes" in files.vectors() else {})
    with closing(open_board("pi5", ["onnxruntime"])) as board:
        assert board.available()["onnxruntime"] == sysroot.wheels["onnxruntime"]
        engine = board.open("onnxruntime", files.model, threads=1, optimize=True)
        assert engine.version == sysroot.wheels["onnxruntime"]
        with pytest.raises(InvalidInputError, match=r"on pi5: .*the model's inputs are"):
            engine.run({"nothing": np.zeros(1, np.uint8)})
        os.kill(board.process.pid, signal.SIGKILL)
        with pytest.raises(ContractError, match=r"Python of pi5 died \(SIGKILL\)"):
            engine.run(feeds)
        rng = np.random.default_rng(0)
        feeds = {
            value.name: rng.integers(0, 128, [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]).astype(
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            )
            for value in files.model.graph.input
        }
        expected = open_engine("numpy", files.model).run(feeds)
        found = engine.run(feeds)
        assert expected.keys() == found.keys()
        for name, array in expected.items():
            assert (found[name] == array).all(), name


class _Off:
    """This machine under a board's name, whose onnxruntime gets one integer wrong."""

    board = "pi3"

    def available(self):
        return HERE.available()

    def open(self, runtime, model, *, threads, optimize):
        engine = HERE.open(runtime, model, threads=threads, optimize=optimize)
        right = engine.run

        def wrong(feeds):
            results = {name: np.array(array) for name, array in right(feeds).items()}
            name = next(iter(results))
            results[name].reshape(-1)[-1] ^= 1
            return results

        engine.run = wrong
        return engine

    def close(self):
        pass


def test_a_difference_is_exit_code_1_with_a_command_that_repeats_it(monkeypatch, capsys):
    monkeypatch.setattr("qdeploy.boards.open_board", lambda board, runtimes: _Off())
    code = run(["verify", str(BUNDLE), "--board", "pi3", "--runtime", "onnxruntime", "--samples", "4"])
    out = capsys.readouterr().out
    assert code == 1
    assert "onnxruntime on pi3, plain, 1 thread: case golden/" in out
    assert ", index [" in out
    assert "--runtime onnxruntime --board pi3" in out


def test_a_board_that_does_not_exist_is_exit_code_2(capsys):
    assert run(["verify", str(BUNDLE), "--board", "pi9", "--runtime", "onnxruntime"]) == 2
    assert "found the board 'pi9'" in capsys.readouterr().err


def test_without_the_sysroot_it_is_exit_code_4(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(["verify", str(BUNDLE), "--board", "pi4", "--runtime", "onnxruntime"]) == 4
    assert "make it with `qdeploy board setup`" in capsys.readouterr().err
