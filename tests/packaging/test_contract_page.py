"""The page of the numeric contract speaks of every operator that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qdeploy.runtime.ops import OPERATORS, RECURRENT

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
PARTS = [part.partition("\n") for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]]
SECTIONS = {title: text for title, _, text in PARTS}


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_stands_in_the_contract(operator: str) -> None:
    """By its own name: in a table or in the text, or, a recurrent one, in a heading."""
    named = f"`{operator}`" in PAGE or any(operator in re.split(r"\W+", title) for title in SECTIONS)
    assert named, f"docs/contract.md does not say what {operator} computes"


@pytest.mark.parametrize("operator", sorted(set(RECURRENT) - {"RNN"}))
def test_every_recurrent_cell_has_its_equations(operator: str) -> None:
    """A section with the cell's name that says what h_t is; RNN's is that of recurrent loops."""
    texts = [text for title, text in SECTIONS.items() if operator in re.split(r"\W+", title) or f"`{operator}`" in text]
    assert any("h_t" in text for text in texts), f"docs/contract.md has no equations of {operator}"


def test_the_simple_recurrence_has_its_equations() -> None:
    assert "h_t" in SECTIONS["Recurrent loops: RNN"]
