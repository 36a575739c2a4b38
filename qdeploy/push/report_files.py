"""The report of a push as files here: JSON for machines, text for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy.cli.printable import printable
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.staging import write_whole

from .address import Address

if TYPE_CHECKING:
    from .report import PushReport

__all__ = ["write_report"]


def write_report(report: PushReport, path: Path | None = None) -> tuple[Path, Path]:
    """Writes both files, each whole or not at all, and returns their paths.

    Args:
        report: what was found.
        path: the JSON file; by default ``BUNDLE.push-HOST.json`` beside the bundle.

    Raises:
        InvalidInputError, MissingRequirementError: a file cannot be written.
    """
    if path is None:
        bundle = Path(report.bundle).resolve()
        path = bundle.with_name(
            f"{bundle.name.removesuffix('.zip')}.push-{Address.parse(report.address).file_name}.json"
        )
    if path.suffix != ".json":
        raise InvalidInputError(f"{path}: the report's file must end in .json")
    text = path.with_suffix(".txt")
    write_whole(path, (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    write_whole(text, (printable("\n".join(report.lines())) + "\n").encode())
    return path, text
