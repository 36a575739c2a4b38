"""Where a board is: ``user@host``, as ssh takes it, checked so strictly that nothing else can be meant."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["Address"]

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")


@dataclass(frozen=True)
class Address:
    """A board's host and the user there; None leaves the user to ssh's own configuration.

    A name that begins with "-" would be an option of ssh, a space or a quote would be split or joined somewhere on the way:
    letters, digits, dots, dashes and underscores are all that host and user names are made of.
    """

    host: str
    user: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads ``host``, ``user@host`` or ``user@[fe80::1%eth0]``.

        Raises:
            InvalidInputError: anything else.
        """
        user, separator, host = text.rpartition("@")
        if separator and not _USER.fullmatch(user):
            raise InvalidInputError(
                f"{text!r}: found the user {user!r}, expected letters, digits, '.', '_' and '-', as in pi@raspberrypi.local"
            )
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ipv6(host):
                raise InvalidInputError(
                    f"{text!r}: found {host!r} in brackets, expected an IPv6 address, as in pi@[fe80::1]"
                )
        elif not _HOST.fullmatch(host) and not _is_ipv6(host):
            raise InvalidInputError(
                f"{text!r}: found the host {host!r}, expected a name or an address, as in pi@raspberrypi.local or "
                "pi@192.168.1.20; a port is given by --port"
            )
        return cls(host, user if separator else None)

    def __str__(self) -> str:
        return self.host if self.user is None else f"{self.user}@{self.host}"

    @property
    def file_name(self) -> str:
        """The host as a part of a file's name."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.host)


def _is_ipv6(host: str) -> bool:
    address, _, zone = host.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return not zone or re.fullmatch(r"[A-Za-z0-9_.-]+", zone) is not None
