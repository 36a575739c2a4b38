"""The arm64 Python of emulated boards, made once; and bundles small enough for an emulated processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdeploy.boards.sysroot import Sysroot, setup_sysroot
from qdeploy.runtime.errors import MissingRequirementError

GOLDEN = Path(__file__).parents[1] / "golden" / "bundles"


@pytest.fixture(scope="session")
def sysroot() -> Sysroot:
    """In the user's cache, as ``qdeploy board setup`` makes it; without the network or apt its tests are left out."""
    try:
        return setup_sysroot()
    except MissingRequirementError as error:
        pytest.skip(f"no arm64 Python for emulated boards: {str(error).splitlines()[0]}")
