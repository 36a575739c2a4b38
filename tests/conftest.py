"""What all tests share: markers that leave tests out by name and reason, and a closing summary of what was left out."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from functools import cache

import pytest

# Official onnxruntime wheels report usage unless told otherwise; it is read when the package is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run, each with its reason."""
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    for item in items:
        if item.get_closest_marker("qemu") and qemu is None:
            item.add_marker(pytest.mark.skip(reason="no qemu-x86_64 (Linux package qemu-user)"))
        for marker in item.iter_markers("data"):
            if _missing(marker.args[0]) is not None:
                item.add_marker(
                    pytest.mark.skip(reason=f"no data: the files of {marker.args[0]} are not in QDEPLOY_DATA")
                )


@cache
def _missing(name: str) -> str | None:
    from qdeploy.listing import missing_dataset

    return missing_dataset(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left out and why, whatever the verbosity."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if not reasons:
        terminalreporter.write_line("left out: nothing")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"left out: {count} test{'s' * (count != 1)}: {reason}")
