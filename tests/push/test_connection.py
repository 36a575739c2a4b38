"""The command that a login shell on the other side gets: every shell reads it alike and leaves what follows the script alone."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from qdeploy.push.connection import COMMAND, MARK

SCRIPT = """printf '%s\\n' begin
(
echo "a  b" '$HOME' "it's" '!!' "$(printf '\\\\')"
cat
exit 3
)
printf '\\n%s %s\\n' end $?
"""
DATA = b"data \x00\xff\n#qdeploy-script-ends\n'\""
SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "ksh", "tcsh", "csh", "fish") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_login_shells_read_it_alike(shell):
    given = f"{SCRIPT}{MARK}\n".encode() + DATA
    done = subprocess.run([shell, "-c", COMMAND], input=given, capture_output=True, check=True, timeout=30)
    assert done.stdout == b"begin\na  b $HOME it's !! \\\n" + DATA + b"\nend 3\n"
    assert done.stderr == b""


def test_a_script_that_never_ends_runs_nothing():
    done = subprocess.run(
        ["sh", "-c", COMMAND], input=b"echo half of it\n", capture_output=True, check=False, timeout=30
    )
    assert b"half" not in done.stdout
