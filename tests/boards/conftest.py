"""The arm64 Python of emulated boards, made once; and bundles small enough for an emulated processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdeploy.boards.sysroot import Sysroot

GOLDEN = Path(__file__).parents[1] / "golden" / "bundles"


@pytest.fixture(scope="session")
def sysroot(arm64_python: Sysroot) -> Sysroot:
    return arm64_python
