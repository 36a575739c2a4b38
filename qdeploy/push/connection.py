"""Commands on another machine by the system's ``ssh``, and what its failures mean.

Only ssh itself is used, for files too (``tar`` through its standard input): boards with a small ssh server have neither scp
nor sftp. All commands share one connection, so a password is asked for once.

No text of ours is ever part of a command line of the other side. The login shell there, whichever it is, gets one constant
command, which reads a script for ``sh`` from standard input up to a mark and evaluates it; what follows the mark is the
script's own input.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

from .address import Address

__all__ = ["COMMAND", "MARK", "Connection", "RemoteResult", "connect"]

CONNECT_SECONDS = 15
"""Longer than a board needs to answer, even one that wakes from saving power."""

MARK = "#qdeploy-script-ends"
# Without single quotes, "!" and backslashes but for printf's, so that sh, csh and fish read it alike. ``read`` takes no
# byte beyond its line: the rest of standard input is left to the script. Of a script whose end does not arrive nothing runs.
COMMAND = (
    'sh -c \'n=$(printf "\\nx"); n=${n%x}; s=; '
    f'while IFS= read -r l; do if [ "$l" = "{MARK}" ]; then eval "$s"; exit; fi; s="$s$l$n"; done; exit 125\''
)

_LONGEST_CONTROL_PATH = 70
"""Sockets have names of at most 104 to 108 bytes, and ssh appends a part of its own while it makes one."""

_NOT_QUOTABLE = re.compile(r'["\\]|\$\{')

_PROBLEMS = (
    (
        r"Could not resolve hostname|Name or service not known",
        "the name is not known",
        "check the name, or give its address",
    ),
    (
        r"Connection refused",
        "nothing answers at that port",
        "switch ssh on there (raspi-config, Interface Options), or give --port",
    ),
    (
        r"timed out|No route to host|Network is unreachable|Host is down|Timeout, server",
        "the machine does not answer",
        "check that it is switched on and in the same network",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "it has another host key than the last time",
        "if the board was set up anew: ssh-keygen -R {host}; else somebody else answers at its address",
    ),
    (
        r"Host key verification failed",
        "its host key is not known yet",
        "connect once by hand (ssh {address}) and compare the key that is shown",
    ),
    (
        r"Permission denied|Too many authentication failures|no mutual signature",
        "it accepts neither key nor password",
        "check the user's name; give a key by --identity, or bring yours there: ssh-copy-id {address}",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "ssh refuses the key's file: others can read it",
        "chmod 600 on it",
    ),
)


@dataclass(frozen=True)
class RemoteResult:
    """How a script ended on the other side: its exit code and what it wrote."""

    code: int
    out: str
    err: str


class Connection:
    """An open way to a board; :func:`connect` makes and closes it."""

    def __init__(self, address: Address, arguments: list[str]) -> None:
        self.address = address
        self._arguments = arguments

    def run(self, script: str, *, data: bytes = b"", timeout: float) -> RemoteResult:
        """Runs a script of POSIX ``sh`` there.

        Args:
            script: its text; values in it are quoted by ``shlex.quote``.
            data: what the script reads from its standard input.
            timeout: seconds until it is given up.

        Returns:
            Exit code and output; a shell's greetings are not part of it.

        Raises:
            MissingRequirementError: the machine cannot be reached, refuses, or takes too long.
        """
        token = secrets.token_hex(8)
        # A subshell, so that an ``exit`` in the script leaves the line behind it standing.
        whole = f"printf '%s\\n' begin-{token}\n(\n{script}\n)\nprintf '\\n%s %s\\n' end-{token} $?\n"
        command = [*self._arguments, COMMAND]
        environment = {**os.environ, "LC_ALL": "C"}  # the messages that _PROBLEMS knows
        given = f"{whole}{MARK}\n".encode() + data
        try:
            done = subprocess.run(  # noqa: S603 - a checked address after "--", a constant command
                command, input=given, capture_output=True, timeout=timeout, check=False, env=environment
            )
        except subprocess.TimeoutExpired as error:
            raise MissingRequirementError(
                f"{self.address}: no answer within {timeout:g} seconds; give more by --timeout, or look what the board does"
            ) from error
        out = done.stdout.decode("utf-8", "replace")
        err = done.stderr.decode("utf-8", "replace")
        match = re.search(rf"begin-{token}\n(.*)\nend-{token} (\d+)\n", out, re.DOTALL)
        if match is None:
            raise MissingRequirementError(self._explained(done.returncode, out, err))
        return RemoteResult(int(match[2]), match[1], err)

    def _explained(self, code: int, out: str, err: str) -> str:
        for pattern, found, advice in _PROBLEMS:
            if re.search(pattern, err):
                said = err.strip().splitlines()[-1]
                next_step = advice.format(host=self.address.host, address=self.address)
                return f"{self.address}: {found} (ssh: {said}); {next_step}"
        said = " ".join((err.strip() or out.strip() or "nothing").splitlines()[-3:])
        return (
            f"{self.address}: the connection broke, or no POSIX shell answered (exit code {code}; found: {said}); "
            f"expected a machine where `ssh {self.address} sh` gives a shell"
        )


@contextlib.contextmanager
def connect(
    address: Address, *, port: int | None = None, identity: Path | None = None, config: Path | None = None
) -> Iterator[Connection]:
    """Opens the way to a board; the shared connection is closed at the end.

    Args:
        address: of the board.
        port: of its ssh server, None for ssh's own configuration.
        identity: a private key's file.
        config: a configuration file that ssh reads instead of the user's.

    Raises:
        InvalidInputError: a file that is not there.
        MissingRequirementError: this machine has no ssh.
    """
    program = shutil.which("ssh")
    if program is None:
        raise MissingRequirementError(
            "no ssh on this machine; install OpenSSH's client (Debian: apt install openssh-client)"
        )
    arguments = [program, "-T", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    # A board that lost its power is noticed within a minute.
    arguments += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    if not sys.stdin.isatty():
        arguments += ["-o", "BatchMode=yes"]  # nobody is there to answer a question
    if config is not None:
        arguments += ["-F", str(_existing(config, "--ssh-config"))]
    if port is not None:
        arguments += ["-p", str(port)]
    if identity is not None:
        arguments += ["-o", f"IdentityFile={_quoted(identity)}", "-o", "IdentitiesOnly=yes"]
    with tempfile.TemporaryDirectory(prefix="qd-") as folder:
        shared = []
        if len(folder) < _LONGEST_CONTROL_PATH and not _NOT_QUOTABLE.search(folder):
            path = folder.replace("%", "%%")
            shared = ["-o", "ControlMaster=auto", "-o", f'ControlPath="{path}/s"', "-o", "ControlPersist=60"]
        target = [*(("-l", address.user) if address.user else ()), "--", address.host]
        try:
            yield Connection(address, [*arguments, *shared, *target])
        finally:
            if shared:
                subprocess.run(  # noqa: S603 - as above
                    [*arguments, *shared, "-O", "exit", *target],
                    capture_output=True,
                    timeout=CONNECT_SECONDS,
                    check=False,
                )


def _quoted(identity: Path) -> str:
    """A key's file as a value of ssh's configuration, in which % begins a name of ssh's own."""
    path = str(_existing(identity, "--identity"))
    if _NOT_QUOTABLE.search(path):
        raise InvalidInputError(
            f"--identity {path}: ssh reads quotes, backslashes and ${{ in this name as something else; rename the file"
        )
    return f'"{path.replace("%", "%%")}"'


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise InvalidInputError(f"{option} {path}: there is no such file")
    return path.absolute()
