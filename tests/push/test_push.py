"""`qdeploy push` to a board on the loopback address: what arrives, what comes back, what stays."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import qdeploy

from .conftest import QUICK, REAL, folders_left

pytestmark = pytest.mark.program("sshd")


@pytest.fixture(scope="module")
def pushed(board, bundle):
    """One push with everything: verified and measured by two runtimes."""
    return qdeploy.load(bundle).push(
        "board", config=board.config, python="real-python", runtimes=["bodies", "onnxruntime"], samples=2
    )


def test_the_board_s_verdict_comes_back(pushed, bundle):
    assert pushed.passed
    assert pushed.verify["mismatched_integers"] == 0
    assert {voice["name"].partition(",")[0] for voice in pushed.verify["voices"]} == {"numpy", "bodies", "onnxruntime"}
    assert pushed.model_sha256 == hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()


def test_the_board_says_what_it_is(pushed):
    assert pushed.board.packages["qdeploy"] == qdeploy.__version__
    assert pushed.board.machine
    assert pushed.board.python.endswith("/programs/real-python")


def test_times_of_both_stand_side_by_side(pushed):
    assert [time.name for time in pushed.times] == ["bodies", "onnxruntime"]
    assert all(time.board > 0 and time.here > 0 and time.ratio == time.board / time.here for time in pushed.times)
    text = "\n".join(pushed.lines())
    assert "board / here" in text
    assert "passed" in text


def test_nothing_stays_there(pushed, board):
    assert pushed.kept is None
    assert folders_left(board) == []
    assert not (board.home / "a net").exists()


def test_report_is_written_as_json_and_text(push_to, tmp_path):
    done = push_to(*QUICK, *REAL)
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == done.report
    assert written["passed"] is True
    assert "integers compared, none differ" in (tmp_path / "report.txt").read_text()


def test_report_s_default_place_is_beside_the_bundle(pushed, bundle):
    from qdeploy.push.report_files import write_report

    paths = write_report(pushed)
    assert [path.name for path in paths] == ["a net.push-board.json", "a net.push-board.txt"]
    assert {path.parent for path in paths} == {bundle.parent}


def test_a_kept_bundle_is_whole(push_to, board, bundle):
    name = 'it\'s a $(touch kept) "net"'
    done = push_to(*QUICK, "--keep", "--folder", name)
    assert done.code == 0, done.err
    kept = board.home / name
    assert done.report["kept"] == str(kept)
    assert qdeploy.load(kept).manifest == qdeploy.load(bundle).manifest
    assert {path.name for path in kept.iterdir()} == {path.name for path in bundle.iterdir()}
    assert not list(board.home.rglob("kept"))
    assert folders_left(board) == []


def test_what_is_there_is_replaced_on_request_only(push_to, board):
    assert push_to(*QUICK, "--keep").code == 0
    marker = board.home / "a net" / "of-before"
    marker.write_text("")
    done = push_to(*QUICK, "--keep")
    assert done.code == 2
    assert "--force" in done.err
    assert marker.exists()
    assert push_to(*QUICK, "--keep", "--force").code == 0
    assert not marker.exists()
    assert folders_left(board) == []


def test_something_else_than_a_bundle_is_never_replaced(push_to, board):
    (board.home / "letters").mkdir()
    (board.home / "letters" / "love").write_text("x")
    done = push_to(*QUICK, "--folder", "letters", "--force")
    assert done.code == 2
    assert "something else than a bundle" in done.err
    assert (board.home / "letters" / "love").read_text() == "x"
    assert folders_left(board) == []


def test_zip(push_to, bundle, board, tmp_path, capsys):
    from qdeploy.cli.group import run

    archive = shutil.make_archive(str(tmp_path / "net"), "zip", bundle)
    words = ["push", archive, "board", "--ssh-config", board.config, *QUICK, "-o", tmp_path / "r.json"]
    assert run([str(word) for word in words]) == 0, capsys.readouterr().err


def test_only_what_the_manifest_lists_is_sent(push_to, bundle, board, tmp_path, capsys):
    from qdeploy.cli.group import run

    copy = tmp_path / "net"
    shutil.copytree(bundle, copy)
    (copy / "private-notes.txt").write_text("secret")
    words = ["push", copy, "board", "--ssh-config", board.config, *QUICK, "--keep", "-o", tmp_path / "r.json"]
    assert run([str(word) for word in words]) == 0, capsys.readouterr().err
    assert not (board.home / "net" / "private-notes.txt").exists()
    assert (board.home / "net" / "example.py").exists()


@pytest.fixture
def bare_python(board, tmp_path):
    """The board's Python with every package of this one but qdeploy."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in map(Path, sys.path):
        for entry in folder.iterdir() if folder.name == "site-packages" else ():
            link = packages / entry.name
            if "qdeploy" not in entry.name and not link.exists():
                link.symlink_to(entry)
    before = (board.programs / "python3").read_text()
    python = shlex.quote(sys.executable)
    text = f'#!/bin/sh\nPYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}"{shlex.quote(str(packages))} exec {python} -S "$@"\n'
    board.put_program("python3", text)
    yield packages
    board.put_program("python3", before)
    shutil.rmtree(board.home / ".local", ignore_errors=True)


def test_without_qdeploy_the_message_says_what_to_do(push_to, bare_python):
    done = push_to(*QUICK)
    assert done.code == 4
    assert "--install" in done.err
    assert "no qdeploy there" in done.err


def test_install_puts_it_into_a_private_folder(push_to, bare_python, board):
    done = push_to(*QUICK, "--install")
    assert done.code == 0, done.err
    assert done.report["board"]["packages"]["qdeploy"] == qdeploy.__version__
    private = board.home / ".local/share/qdeploy/push"
    assert (private / "qdeploy" / "runtime" / "reference.py").exists()
    assert not (private / "qdeploy" / "models").exists()
    assert [path.name for path in private.iterdir() if path.name.startswith(".new")] == []
    again = push_to(*QUICK)
    assert again.code == 0, again.err


def test_install_without_pip_says_so(push_to, bare_python):
    for name in ("rich", "pip"):
        for path in [*bare_python.glob(f"{name}"), *bare_python.glob(f"{name}-*.dist-info")]:
            path.unlink()
    done = push_to(*QUICK, "--install")
    assert done.code == 4
    assert "pip could not install rich" in done.err
