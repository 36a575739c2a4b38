"""Which boards there are, how each is emulated, and what of that this machine has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qdeploy.export.c.targets import TARGETS
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

from .litert_sysroot import LITERT_BOARDS, find_litert, litert_architecture
from .programs import find
from .sysroot import EMULATOR, find_sysroot

__all__ = ["BOARDS", "BoardEntry", "Overview", "check_board", "overview"]

BOARDS: tuple[str, ...] = tuple(
    name for name, target in TARGETS.items() if target.emulator is not None or target.machine is not None
)
"""The targets that can be tried without the board."""


def check_board(name: str) -> None:
    """Whether there is such a board.

    Raises:
        InvalidInputError: there is none.
    """
    if name not in BOARDS:
        raise InvalidInputError(f"found the board {name!r}, expected one of {', '.join(BOARDS)}")


@dataclass(frozen=True)
class BoardEntry:
    """One board; ``runtimes`` are those that `verify --board` takes; ``missing`` says what to do, empty where all is there."""

    name: str
    description: str
    emulator: str
    runtimes: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """All boards."""

    boards: tuple[BoardEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        names = max(len(board.name) for board in self.boards)
        commands = max(len(board.emulator) for board in self.boards)
        runtimes = max(len(", ".join(board.runtimes)) for board in self.boards)
        lines = [
            f"{board.name:<{names}}  {board.emulator:<{commands}}  {', '.join(board.runtimes):<{runtimes}}  {board.description}"
            for board in self.boards
        ]
        missing = dict.fromkeys(reason for board in self.boards for reason in board.missing)
        return [*lines, *(f"missing: {reason}" for reason in missing)]


def overview() -> Overview:
    """Looks at this machine."""
    sysroot = _reason(find_sysroot)
    litert = {name: _reason(lambda name=name: find_litert(name)) for name in ("arm64", "armhf")}
    entries = []
    for name in BOARDS:
        target = TARGETS[name]
        command = target.emulator or target.machine or ()
        has_python, has_litert = command[0] == EMULATOR, name in LITERT_BOARDS
        reasons = (
            _reason(lambda program=command[0]: find(program)),
            sysroot if has_python else None,
            litert[litert_architecture(name)] if has_litert else None,
        )
        entries.append(
            BoardEntry(
                name=name,
                description=target.description,
                # The program, and the processor or the machine; how large its memory is made matters to nobody.
                emulator=" ".join(command[:3]),
                runtimes=("c", *(("onnxruntime",) if has_python else ()), *(("litert",) if has_litert else ())),
                missing=tuple(reason for reason in reasons if reason is not None),
            )
        )
    return Overview(tuple(entries))


def _reason(look: Any) -> str | None:
    try:
        look()
    except MissingRequirementError as error:
        return str(error)
    return None
