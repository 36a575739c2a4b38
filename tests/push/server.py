"""An ssh server on the loopback address that an ordinary user starts: a board that every machine has."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Board", "sshd", "start_board"]

_SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/authorized_keys"
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
PermitUserEnvironment no
ForceCommand '{folder}/login'
"""

# The login of a board with a home folder of its own, whose PATH leads to `programs`.
_LOGIN = """#!/bin/sh
export HOME={home} PATH={path}
cd
{greeting}
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""

_CLIENT = """
Host board
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile "{folder}/key"
  IdentitiesOnly yes
  UserKnownHostsFile "{folder}/known_hosts"
"""


def sshd() -> str | None:
    """The server's program, None where OpenSSH's server is not installed."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Board:
    """A running server.

    Attributes:
        config: for ``--ssh-config``, in which the server is called ``board``.
        home: the home folder there.
        programs: its own folder of programs, first in the PATH there.
        key: the private key that it accepts.
        port: its port.
        user: who logs in.
        process: the server.
    """

    config: Path
    home: Path
    programs: Path
    key: Path
    port: int
    user: str
    process: subprocess.Popen[bytes]

    def put_program(self, name: str, text: str) -> Path:
        """Writes a program that is first in the PATH there."""
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def stop(self) -> None:
        """Ends the server."""
        self.process.terminate()
        self.process.wait(timeout=10)


NEEDED = ("sh", "tar", "mktemp", "find", "mkdir", "mv", "rm", "cat", "chmod", "tail", "uname")
"""All programs that a board must have; busybox has them."""


def start_board(folder: Path, *, python: str | None = sys.executable, greets: bool = True) -> Board:
    """Starts a server in an empty folder.

    Args:
        folder: for its keys, its home folder and its log.
        python: the interpreter that is its ``python3``; None for a board with the programs of NEEDED and no others.
        greets: whether its shell says something before any command, as some do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home, programs = folder / "home", folder / "programs"
    home.mkdir()
    programs.mkdir()
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized_keys").write_bytes((folder / "key.pub").read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = getpass.getuser()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "ssh_config").write_text(_CLIENT.format(port=port, user=user, folder=folder))
    (folder / "sshd_config").write_text(_SERVER.format(port=port, folder=folder))
    login = folder / "login"
    path = shlex.quote(str(programs)) + (":/usr/bin:/bin" if python is not None else "")
    for name in NEEDED if python is None else ():
        (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    login.write_text(
        _LOGIN.format(home=shlex.quote(str(home)), path=path, greeting="echo 'Welcome to the board.'" * greets)
    )
    login.chmod(0o755)
    program = sshd()
    assert program is not None
    # As an ordinary user, or as root, who must have /run/sshd.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    board = Board(folder / "ssh_config", home, programs, folder / "key", port, user, process)
    if python is not None:
        board.put_program("python3", f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n')
    _wait(port, process, folder / "sshd.log")
    return board


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended with {process.returncode}: {log.read_text()}")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not answer at port {port}: {log.read_text()}")
