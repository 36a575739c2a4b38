"""Studies of shipped networks: one, all of a data set, or all; those whose data are not here are left out by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from qdeploy.listing import Entry, missing_datasets
from qdeploy.runtime.errors import InvalidInputError

__all__ = ["ALL", "judge_shipped"]

ALL = "all"
"""In place of a network or a data set: every network of the study."""

Progress = Callable[[str, int, int], None]
_Row = TypeVar("_Row")


def judge_shipped(
    known: Sequence[Entry], which: str, kind: str, judge: Callable[[Entry], _Row], progress: Progress | None
) -> tuple[list[_Row], tuple[str, ...]]:
    """The rows of the chosen networks by data set, then name, and the names of those whose data are not here.

    Args:
        known: the study's networks, as ``qdeploy.listing`` has them.
        which: ``ALL``, a data set's name for the networks that were trained on it, or one network's name.
        kind: what messages call them.
        judge: gives one network's row.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: nothing of that name is known, or no data are here.
    """
    chosen = [entry for entry in known if which in (ALL, entry.name, entry.details["dataset"])]
    if not chosen:
        names = sorted({entry.details["dataset"] for entry in known} | {entry.name for entry in known})
        raise InvalidInputError(f"{which!r}: no shipped {kind} network; expected {ALL}, or one of {', '.join(names)}")
    absent = missing_datasets(entry.details["dataset"] for entry in chosen)
    present = [entry for entry in chosen if entry.details["dataset"] not in absent]
    if not present:
        raise InvalidInputError(f"{which!r}: the data of {', '.join(sorted(absent))} are not here; see qdeploy doctor")
    rows = []
    for done, entry in enumerate(sorted(present, key=lambda entry: (entry.details["dataset"], entry.name))):
        if progress:
            progress("networks", done, len(present))
        rows.append(judge(entry))
    if progress:
        progress("networks", len(present), len(present))
    return rows, tuple(entry.name for entry in chosen if entry.details["dataset"] in absent)
