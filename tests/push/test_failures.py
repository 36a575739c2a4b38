"""Whatever goes wrong: one message that says what to do, an exit code, and nothing left there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from .conftest import QUICK, REAL, folders_left, processes_with

pytestmark = pytest.mark.program("sshd")


@pytest.fixture
def python_there(board):
    """Replaces the board's Python for a test: ``verify`` and ``bench`` become the given lines of sh."""
    path = board.programs / "python3"
    before = path.read_text()

    def replace(**verbs: str) -> None:
        branches = "".join(f"  {verb}) {lines};;\n" for verb, lines in verbs.items())
        real = before.removeprefix("#!/bin/sh\n")
        board.put_program("python3", f'#!/bin/sh\ncase "$3" in\n{branches}esac\n{real}')

    yield replace
    board.put_program("python3", before)


def edited(board, tmp_path, *changes: tuple[str, str]):
    """The client's configuration, changed."""
    text = board.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "ssh_config"
    path.write_text(text)
    return path


def test_a_failed_verification_is_exit_code_1(push_to, python_there, board, tmp_path):
    report = '{"passed": false, "compared_integers": 9, "mismatched_integers": 1, "voices": [{"name": "numpy", "difference": '
    report += '{"node": "first", "operator": "Linear", "tensor": "y", "index": [0, 3], '
    report += '"found": 4, "expected": 5, "judge": "it"}}]}'
    python_there(verify=f"echo '{report}'; exit 1")
    done = push_to("--runtime", "numpy", "--keep")
    assert done.code == 1
    assert "FAILED there" in done.out
    assert "node first (Linear), tensor y, index [0, 3]: found 4, it gives 5" in done.out
    assert "FAILED there" in (tmp_path / "report.txt").read_text()
    assert not (board.home / "a net").exists()
    assert folders_left(board) == []


@pytest.mark.parametrize("printed", ["", "[]", "{", "null", '"passed"'])
def test_a_board_that_prints_no_report(push_to, python_there, board, printed):
    python_there(verify=f"echo '{printed}'; exit 0")
    done = push_to(*QUICK)
    assert done.code == 4
    assert "printed no report" in done.err
    assert folders_left(board) == []


@pytest.mark.parametrize("printed", ['{"voices": 3}', '{"passed": 1, "voices": [1, {"difference": 3}]}'])
def test_a_report_of_another_shape_is_no_pass(push_to, python_there, printed):
    python_there(verify=f"echo '{printed}'; exit 0")
    assert push_to(*QUICK).code == 1


def test_a_crash_there_is_told(push_to, python_there, board):
    python_there(verify="echo 'Illegal instruction' >&2; exit 132")
    done = push_to(*QUICK)
    assert done.code == 4
    assert "exit code 132 there: Illegal instruction" in done.err
    assert folders_left(board) == []


def test_bytes_that_changed_on_the_way_are_noticed_there(push_to, board):
    tar = board.put_program("tar", '#!/bin/sh\nPATH=/usr/bin:/bin tar "$@" && printf x >> "$4/model.onnx"\n')
    done = push_to(*QUICK, *REAL)
    tar.unlink()
    assert done.code == 2
    assert "model.onnx: holds more than the expected" in done.err
    assert folders_left(board) == []


def test_a_full_disk_there(push_to, board):
    tar = board.put_program("tar", "#!/bin/sh\necho 'tar: write error: No space left on device' >&2\nexit 2\n")
    done = push_to(*QUICK)
    tar.unlink()
    assert done.code == 4
    assert "No space left on device" in done.err
    assert folders_left(board) == []


def test_a_time_limit_ends_the_process_there(push_to, python_there, board):
    python_there(verify="exec sleep 54321")
    start = time.monotonic()
    done = push_to(*QUICK, "--timeout", 2)
    assert time.monotonic() - start < 30
    assert done.code == 4
    assert "within 2 seconds" in done.err
    assert folders_left(board) == []
    assert processes_with("54321") == []


def test_an_interruption_leaves_nothing_there(board, bundle, python_there, tmp_path):
    started = board.home.parent / "started"
    python_there(verify=f": > '{started}'; exec sleep 12345")
    words = [sys.executable, "-m", "qdeploy", "push", bundle, "board", "--ssh-config", board.config, *QUICK]
    # Whoever runs the tests in the background has interrupts ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    signal.signal(signal.SIGINT, before)
    while not started.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert folders_left(board) == []
    assert processes_with("12345") == []


def test_unknown_runtime_is_usage(push_to):
    done = push_to("--runtime", "abacus", *REAL)
    assert done.code == 2
    assert "abacus" in done.err


def test_no_python(push_to, board):
    before = (board.programs / "python3").read_text()
    for name in ("python3", "python"):
        board.put_program(name, "#!/bin/sh\nexit 127\n")
    done = push_to(*QUICK)
    board.put_program("python3", before)
    (board.programs / "python").unlink()
    assert done.code == 4
    assert "no Python" in done.err
    assert "--no-python" in done.err


def test_a_python_that_is_named(push_to, board):
    assert push_to(*QUICK, "--python", board.programs / "python3").code == 0
    done = push_to(*QUICK, "--python", "python9; touch x")
    assert done.code == 4
    assert "no Python" in done.err
    assert not (board.home / "x").exists()


def test_an_old_python(push_to, board):
    before = (board.programs / "python3").read_text()
    line = 'packages {"version": "3.7.3", "machine": "armv7l", "qdeploy": null}'
    board.put_program("python3", f"#!/bin/sh\necho '{line}'\n")
    done = push_to(*QUICK)
    board.put_program("python3", before)
    assert done.code == 4
    assert "found Python 3.7.3" in done.err
    assert "expected 3.11 or newer" in done.err


def test_key_refused(push_to, board, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    config = edited(board, tmp_path, (f'IdentityFile "{board.key}"', f'IdentityFile "{tmp_path / "other"}"'))
    done = push_to(*QUICK, config=config)
    assert done.code == 4
    assert "accepts neither key nor password" in done.err
    assert "ssh-copy-id" in done.err


def test_key_and_port_and_user_by_options(push_to, board, tmp_path):
    changes = (
        (f'IdentityFile "{board.key}"', ""),
        (f"Port {board.port}", "Port 9"),
        (f"User {board.user}", "User nobody"),
    )
    config = edited(board, tmp_path, *changes)
    key = tmp_path / "a 100% key"
    key.write_bytes(board.key.read_bytes())
    key.chmod(0o600)
    options = "--identity", key, "--port", board.port
    assert push_to(*QUICK, *options, address=f"{board.user}@board", config=config).code == 0


def test_unreachable(push_to, board, tmp_path):
    done = push_to(*QUICK, "--port", 9)
    assert done.code == 4
    assert "nothing answers at that port" in done.err
    config = edited(board, tmp_path, ("HostName 127.0.0.1", "HostName board.invalid"))
    done = push_to(*QUICK, config=config)
    assert done.code == 4
    assert "the name is not known" in done.err


def test_host_key_unknown_or_changed(push_to, board, tmp_path):
    known = next(line.split(maxsplit=1)[1] for line in board.config.read_text().splitlines() if "KnownHosts" in line)
    other = tmp_path / "known_hosts"
    other.write_text("")
    config = edited(board, tmp_path, (known, f'"{other}"'))
    done = push_to(*QUICK, config=config)
    assert done.code == 4
    assert "host key is not known yet" in done.err
    other.write_text(f"[127.0.0.1]:{board.port} {board.key.with_suffix('.pub').read_text()}")
    done = push_to(*QUICK, config=config)
    assert done.code == 4
    assert "another host key" in done.err


def test_no_ssh_here(push_to, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = push_to(*QUICK)
    assert done.code == 4
    assert "openssh-client" in done.err


def test_files_that_are_not_there(push_to, tmp_path):
    done = push_to(*QUICK, "--identity", tmp_path / "absent")
    assert done.code == 2
    assert "absent" in done.err
