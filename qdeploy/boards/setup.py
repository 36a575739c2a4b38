"""What ``qdeploy board setup`` makes: all that emulated boards run besides C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError

from .litert_sysroot import LITERT_BOARDS, LitertSysroot, litert_architecture, remove_litert, setup_litert
from .sysroot import Sysroot, remove_sysroot, setup_sysroot

if TYPE_CHECKING:
    from qdeploy.progress import Progress

__all__ = ["SetupReport", "remove_boards", "setup_boards"]


@dataclass(frozen=True)
class SetupReport:
    """What is there now."""

    sysroots: tuple[Sysroot | LitertSysroot, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"sysroots": [sysroot.to_dict() for sysroot in self.sysroots]}

    def lines(self) -> list[str]:
        """For people."""
        return [line for sysroot in self.sysroots for line in sysroot.lines()]


def setup_boards(
    board: str | None = None, *, litert: bool = True, force: bool = False, progress: Progress | None = None
) -> SetupReport:
    """Makes what ``board`` runs besides C, for all boards where None; what is there already is kept unless ``force``.

    Raises:
        InvalidInputError: this board runs nothing but C, or nothing without LiteRT.
        MissingRequirementError: a program, the network, a package or a wheel is missing; what was made before is kept.
    """
    architecture = litert_architecture(board) if board in LITERT_BOARDS else None
    if board is not None and architecture is None:
        raise InvalidInputError(
            f"found the board {board!r}; there is something to make for {', '.join(LITERT_BOARDS)}, other boards run C alone"
        )
    if architecture == "armhf" and not litert:
        raise InvalidInputError(f"{board} runs LiteRT and C; without LiteRT there is nothing to make for it")
    made: list[Sysroot | LitertSysroot] = []
    if architecture in (None, "arm64"):
        made.append(setup_sysroot(force=force, progress=progress))
    wanted = [name for name in ("arm64", "armhf") if litert and architecture in (None, name)]
    made += [setup_litert(name, force=force, progress=progress) for name in wanted]
    return SetupReport(tuple(made))


def remove_boards() -> int:
    """Takes all of it away; gives the bytes that were freed."""
    return remove_litert() + remove_sysroot()
