"""Generated C has no warning, reads and writes nothing beside its arrays, and no sum of it overflows a signed type."""

from __future__ import annotations

from pathlib import Path

import pytest

from .sanitized import BUNDLES, LAYOUTS, MODES, covering, has_a_form, run_sanitized

COVERING = covering([name for name in BUNDLES if has_a_form(name)])


@pytest.mark.program("gcc")
@pytest.mark.program("clang")
@pytest.mark.parametrize("place", range(max(len(COVERING), 2 * len(MODES))))
def test_every_operator_is_clean(place: int, tmp_path: Path) -> None:
    """Bundles, modes and layouts in turns; `make sanitize-c` runs all of each."""
    modes = list(MODES)
    mode, layout = modes[place % len(modes)], LAYOUTS[(place + place // len(modes)) % len(LAYOUTS)]
    run_sanitized(COVERING[place % len(COVERING)], mode, layout, tmp_path)
