"""Generated C has no warning, reads and writes nothing beside its arrays, and no sum of it overflows a signed type."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdeploy.export.c.targets import host_twin

from .sanitized import BUNDLES, MODES, covering, has_a_form, run_sanitized

COVERING = covering([name for name in BUNDLES if has_a_form(name)])


@pytest.mark.program("gcc")
@pytest.mark.program("clang")
@pytest.mark.parametrize("place", range(max(len(COVERING), len(MODES))))
def test_every_operator_is_clean(place: int, tmp_path: Path) -> None:
    """Bundles, modes and layouts in turns; `make sanitize-c` runs all of each."""
    modes = list(MODES)
    target = ("generic", host_twin())[place % 3 == 0]
    run_sanitized(COVERING[place % len(COVERING)], modes[place % len(modes)], target, tmp_path)
