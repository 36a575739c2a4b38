"""A folder on the board for one push: new, private, and gone at the end, unless its bundle is to stay."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tarfile
from collections.abc import Iterator, Mapping

from qdeploy.runtime.errors import CheckFailedError, InvalidInputError, MissingRequirementError, QdeployError

from .connection import Connection, RemoteResult

__all__ = ["RemoteFolder", "archive", "remote_folder"]

_MADE = re.compile(r"/(?:[^\x00-\x1f\x7f]*/)?\.qdeploy-push-[A-Za-z0-9]{10}")
"""What mktemp may answer: this path is removed at the end."""

# Left-overs of connections that broke are taken away once they are a day old.
_MAKE = """
for parent in {parents}; do
  [ -d "$parent" ] && [ -w "$parent" ] || continue
  find "$parent" -maxdepth 1 -name '.qdeploy-push-*' -mtime +0 -exec rm -rf {{}} + 2> /dev/null
  made=$(mktemp -d "$parent/.qdeploy-push-XXXXXXXXXX") && printf '%s\\n' "$made" && exit 0
done
exit 1
"""

_PUT = """
if [ -e {target} ] || [ -L {target} ]; then
  [ {force} = 1 ] || exit 17
  if [ -L {target} ] || [ ! -f {target}/manifest.json ]; then exit 18; fi
  mv {target} {place}/previous || exit 19
fi
mv {made} {target} && exit 0
[ -e {place}/previous ] && mv {place}/previous {target}
exit 19
"""


class RemoteFolder:
    """The folder at ``path``; ``kept`` leaves it there."""

    def __init__(self, connection: Connection, path: str, timeout: float) -> None:
        self.connection = connection
        self.path = path
        self.timeout = timeout
        self.kept = False

    def send(self, files: Mapping[str, bytes], folder: str) -> str:
        """Writes files into a new folder of this one, and returns its path.

        Raises:
            MissingRequirementError: no room, or no tar there.
        """
        path = f"{self.path}/{folder}"
        script = f"mkdir {shlex.quote(path)} && tar -xf - -C {shlex.quote(path)}"
        done = self.connection.run(script, data=archive(files), timeout=self.timeout)
        if done.code:
            raise MissingRequirementError(
                f"{self.connection.address}: {path} cannot be written: {_said(done)}; expected room for "
                f"{sum(map(len, files.values())):,} bytes, and tar"
            )
        return path

    def run(self, words: list[str], *, python_path: str | None = None) -> RemoteResult:
        """Runs a command in the folder; its process ends when the folder is removed.

        Args:
            words: program and arguments, each as it is.
            python_path: a folder whose modules Python takes first.
        """
        settings = "export ORT_DISABLE_TELEMETRY=1\n"
        if python_path is not None:
            settings += f"export PYTHONPATH={shlex.quote(python_path)}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        place = shlex.quote(self.path)
        script = f"cd {place} || exit 125\n{settings}{shlex.join(words)} < /dev/null &\necho $! > pid\nwait $!"
        return self.connection.run(script, timeout=self.timeout)

    def keep(self, folder: str, target: str, *, force: bool) -> None:
        """Puts a folder of this one at ``target``, in one step; a bundle that is there is replaced with ``force`` only.

        Raises:
            InvalidInputError: something is there.
            MissingRequirementError: it cannot be written.
        """
        script = _PUT.format(
            target=shlex.quote(target),
            place=shlex.quote(self.path),
            made=shlex.quote(f"{self.path}/{folder}"),
            force=int(force),
        )
        done = self.connection.run(script, timeout=self.timeout)
        where = f"{self.connection.address}:{target}"
        if done.code == 17:
            raise InvalidInputError(f"{where} exists; choose another name by --folder, or replace it with --force")
        if done.code == 18:
            raise InvalidInputError(f"{where} holds something else than a bundle; --force replaces bundles only")
        if done.code:
            raise MissingRequirementError(f"{where} cannot be written: {_said(done)}")

    def remove(self) -> None:
        """Ends what still runs there and takes the folder away."""
        place = shlex.quote(self.path)
        script = f'[ -f {place}/pid ] && kill "$(cat {place}/pid)" 2> /dev/null\nrm -rf {place}'
        done = self.connection.run(script, timeout=self.timeout)
        if done.code:
            raise CheckFailedError(f"{self.connection.address}: {self.path} could not be removed: {_said(done)}")


@contextlib.contextmanager
def remote_folder(connection: Connection, parents: tuple[str, ...], *, timeout: float) -> Iterator[RemoteFolder]:
    """A new folder in the first of ``parents`` that can be written, removed at the end unless ``kept`` is set.

    Raises:
        MissingRequirementError: none of them can be written.
    """
    made = connection.run(_MAKE.format(parents=" ".join(map(shlex.quote, parents))), timeout=timeout)
    path = made.out.strip()
    if made.code or not _MADE.fullmatch(path):
        raise MissingRequirementError(
            f"{connection.address}: no new folder in {' or '.join(parents)}: {_said(made)}; name one that can be "
            "written by --folder"
        )
    folder = RemoteFolder(connection, path, timeout)
    try:
        yield folder
    except BaseException:
        if not folder.kept:
            with contextlib.suppress(QdeployError):  # what went wrong before is what matters
                folder.remove()
        raise
    if not folder.kept:
        folder.remove()


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of plain files that their owner may write, in folders where their names have them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _said(done: RemoteResult) -> str:
    lines = (done.err.strip() or done.out.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.code}"
