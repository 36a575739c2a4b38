"""Debian packages of another architecture, without root: fetched and checked by apt, unpacked into a folder.

The machine's own package sources, keys and proxies are used, under a private configuration with an empty package list; the
machine's packages and lists stay as they are. apt checks each package's SHA-256 against its signed list.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from qdeploy.runtime.errors import MissingRequirementError

from .programs import find

__all__ = ["PackageSource"]

_LARGEST_DOWNLOAD, _LARGEST_UNPACKED = 64 << 20, 256 << 20
"""Bounds on all packages together, in bytes: a Python with its libraries is 8 and 30 MB."""
_PATIENCE = 600


@dataclass(frozen=True)
class PackageSource:
    """apt for ``architecture``, with everything that it writes below ``folder``."""

    folder: Path
    architecture: str

    def update(self) -> None:
        """Fetches the lists of packages.

        Raises:
            MissingRequirementError: a program is missing, or no source could be read.
        """
        lists, archives = self.folder / "lists" / "partial", self.folder / "archives" / "partial"
        for made in (lists, archives):
            made.mkdir(parents=True, exist_ok=True)
        # No package is installed: nothing of the machine's own matters to what is fetched.
        (self.folder / "status").touch()
        (self.folder / "apt.conf").write_text(self._configuration())
        done = self._apt("apt-get", "update")
        # A mirror that is being synchronized may lack one list of several; apt goes on with those that it could check.
        if done.returncode != 0 and not any((self.folder / "lists").glob("*Packages*")):
            raise MissingRequirementError(self._told("the package sources of this machine could not be read", done))

    def python(self) -> str:
        """The name of the distribution's Python, such as ``python3.11``."""
        done = self._apt("apt-cache", "depends", "python3-minimal")
        match = re.search(r"Depends: (python3\.\d+)-minimal", done.stdout)
        if match is None:
            raise MissingRequirementError(self._absent("python3-minimal", done))
        return match[1]

    def fetch(self, names: list[str]) -> dict[str, str]:
        """Downloads packages, without what they depend on; gives each one's version.

        Raises:
            MissingRequirementError: one is not to be had, or they are larger than anything expected.
        """
        versions: dict[str, str] = {}
        download = unpacked = 0
        for name in names:
            done = self._apt("apt-cache", "show", "--no-all-versions", name)
            entry = dict(re.findall(r"^(Version|Size|Installed-Size): (.*)$", done.stdout, re.MULTILINE))
            if done.returncode != 0 or "Version" not in entry:
                raise MissingRequirementError(self._absent(name, done))
            versions[name] = entry["Version"]
            download += int(entry.get("Size", 0))
            # Debian counts it in KiB.
            unpacked += int(entry.get("Installed-Size", 0)) << 10
        if download > _LARGEST_DOWNLOAD or unpacked > _LARGEST_UNPACKED:
            raise MissingRequirementError(
                f"the packages {', '.join(names)} are {download >> 20} MiB, unpacked {unpacked >> 20} MiB; expected at most "
                f"{_LARGEST_DOWNLOAD >> 20} and {_LARGEST_UNPACKED >> 20}; look at this machine's package sources"
            )
        done = self._apt("apt-get", "download", *names)
        if done.returncode != 0 or len(self._files()) != len(names):
            raise MissingRequirementError(self._told(f"{', '.join(names)} could not be downloaded", done))
        return versions

    def unpack(self, target: Path) -> None:
        """Unpacks what was fetched into ``target``; no script of a package is run."""
        for file in self._files():
            done = _run([find("dpkg-deb"), "--extract", str(file), str(target)])
            if done.returncode != 0:
                raise MissingRequirementError(self._told(f"{file.name} could not be unpacked", done))

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.deb"))

    def _apt(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        return _run([find(program), *arguments], cwd=self.folder, environment=environment)

    def _configuration(self) -> str:
        """How the machine reaches its sources, and nothing else of its settings: hooks would run programs of the machine."""
        done = _run([find("apt-config"), "dump"])
        kept = [line for line in done.stdout.splitlines() if line.startswith("Acquire::")]
        return "\n".join(
            [
                *kept,
                'Dir::Etc::parts "/dev/null";',
                'Dir::Etc::main "/dev/null";',
                f'Dir::State::lists "{self.folder / "lists"}";',
                f'Dir::State::status "{self.folder / "status"}";',
                f'Dir::Cache::archives "{self.folder / "archives"}";',
                'Dir::Cache::pkgcache "";',
                'Dir::Cache::srcpkgcache "";',
                f'APT::Architecture "{self.architecture}";',
                f'APT::Architectures {{ "{self.architecture}"; }};',
                # As root, apt would fetch as a user who may not write here.
                'APT::Sandbox::User "root";',
                "",
            ]
        )

    def _absent(self, name: str, done: subprocess.CompletedProcess[str]) -> str:
        return self._told(
            f"this machine's package sources have no {name} for {self.architecture}; expected sources that carry "
            f"{self.architecture} (add one to apt's sources, or make the sysroot on another machine and copy its folder)",
            done,
        )

    @staticmethod
    def _told(what: str, done: subprocess.CompletedProcess[str]) -> str:
        """With what the program complained of, at most five lines."""
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-5:]
        return "\n".join([what, *(f"  {line}" for line in said)])


def _run(
    words: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 (a program of PATH)
            words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingRequirementError(
            f"{Path(words[0]).name} did not end within {_PATIENCE} s; look at the network and repeat"
        ) from error
