"""LiteRT on emulated boards: both runtimes on arm64, tflite-runtime on armhf, each kernel set, the reference's bits."""

from __future__ import annotations

import json

import pytest

from qdeploy.boards import open_board
from qdeploy.boards.litert_sysroot import LITERT_BOARDS, find_litert, litert_architecture
from qdeploy.cli.group import run
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError, UnsupportedModelError

from .conftest import GOLDEN

BUNDLE = GOLDEN / "lstm-state8.zip"
PACKAGES = {"pi4": ("ai-edge-litert", "tflite-runtime"), "pi2": ("tflite-runtime",)}
RESOLVERS = ("default", "plain", "reference")


@pytest.fixture
def made(board):
    """What ``qdeploy board setup`` made for the board; without it the test is left out."""
    try:
        return find_litert(litert_architecture(board))
    except MissingRequirementError as error:
        pytest.skip(f"no LiteRT for emulated boards: {str(error).splitlines()[0]}")


@pytest.mark.parametrize("board", PACKAGES)
def test_a_bundle_verifies_with_every_runtime_and_kernel_set(board, made, capsys):
    words = ["verify", str(BUNDLE), "--board", board, "--runtime", "litert", "--samples", "2", "--json"]
    code = run(words)
    report = json.loads(capsys.readouterr().out)
    assert code == 0, report
    assert report["mismatched_integers"] == 0
    # Golden vectors in single steps: states after each.
    assert report["cases"]["golden"] == 2
    assert report["cases"]["cut"] > report["cases"]["golden"]
    voices = {voice["name"]: voice for voice in report["voices"]}
    packages = PACKAGES[board] if made.architecture == "armhf" else [p for p in PACKAGES[board] if p in made.versions]
    names = [
        f"litert on {board}, {package}, {resolver} kernels"
        if len(packages) > 1
        else f"litert on {board}, {resolver} kernels"
        for package in packages
        for resolver in RESOLVERS
    ]
    assert [name for name in voices if name.startswith("litert")] == names
    for name in names:
        package, _, version = voices[name]["version"].partition(" ")
        assert version == made.versions[package]
        assert voices[name]["compared_integers"] > 2000


@pytest.mark.parametrize("board", ["pi2"])
def test_the_board_s_processor_is_what_programs_find(board, made):
    root = made.folder / "roots" / LITERT_BOARDS[board]
    text = (root / "proc" / "cpuinfo").read_text()
    assert text.count("CPU part\t: 0xc07\n") == 4
    assert (root / "sys" / "devices" / "system" / "cpu" / "online").read_text() == "0-3\n"


@pytest.mark.parametrize("board", ["pi4", "pi2"])
@pytest.mark.program("qemu-arm")
@pytest.mark.program("qemu-aarch64")
def test_without_it_the_error_says_how_it_is_made(board, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(["verify", str(BUNDLE), "--board", board, "--runtime", "litert"]) == 4
    said = capsys.readouterr().err
    assert f"there is no LiteRT for {litert_architecture(board)} at" in said
    assert "make it with `qdeploy board setup`" in said


@pytest.mark.parametrize("board", ["pi-zero", "cortex-m4"])
def test_boards_without_a_runtime_are_refused(board, capsys):
    assert run(["verify", str(BUNDLE), "--board", board, "--runtime", "litert"]) == 2
    assert "LiteRT runs on pi-zero2, pi2, pi3, pi4, pi5" in capsys.readouterr().err


@pytest.mark.parametrize("board", ["pi2"])
def test_it_opens_tflite_files_alone(board, made):
    machine = open_board(board, ["litert"])
    try:
        with pytest.raises(UnsupportedModelError, match=r"numpy on pi2 opens \.tflite files alone"):
            machine.open("numpy", b"", threads=1, optimize=True)
    finally:
        machine.close()


def test_setup_refuses_what_would_make_nothing(capsys):
    assert run(["board", "setup", "pi2", "--no-litert"]) == 2
    assert "without LiteRT there is nothing to make for it" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match="'pi9'"):
        litert_architecture("pi9")


@pytest.mark.parametrize("board", ["pi2"])
def test_kernels_of_the_board_s_runtime_that_round_otherwise_are_not_claimed(board, made, capsys):
    """By the board's processor, not that of the machine that emulates it."""
    assert run(["verify", str(GOLDEN / "builtin-conv-1d.zip"), "--board", board, "--runtime", "litert"]) == 2
    said = capsys.readouterr().err
    assert "claimed for no kernel set" in said
    assert said.count("kernels: it rounds CONV_2D there by gemmlowp") == 3
