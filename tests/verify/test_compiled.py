"""The table of ``make verify-c``, on networks of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

import qdeploy
from qdeploy import c_library
from qdeploy.runtime.errors import MissingRequirementError, UnsupportedModelError

from .compiled import table, verify

BUNDLES = Path(__file__).parents[1] / "golden" / "bundles"

pytestmark = pytest.mark.cc


def bundle(name: str) -> qdeploy.Bundle:
    return qdeploy.load(BUNDLES / f"{name}.zip")


def test_a_network_that_agrees() -> None:
    row = verify(bundle("rnn-relu-state8"), None, samples=2)
    assert row.passed
    assert row.compared > 1000
    assert row.operators == "Linear, RNN"
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table([row]))
    assert "rnn-relu-state8" in captured.get()
    assert f"{row.compared:,}" in captured.get()


def test_a_network_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = c_library._sources

    def wrong(files: object, target: str) -> dict[str, bytes]:
        sources = made(files, "generic")
        text = sources["model.c"].replace(b"#define MODEL_OFFSET 0\n", b"#define MODEL_OFFSET 1\n")
        return {**sources, "model.c": text}

    monkeypatch.setattr(c_library, "_sources", wrong)
    row = verify(bundle("mlp"), None, samples=2)
    assert not row.passed
    assert row.differing > 0
    assert "the reference gives" in row.problem


def test_a_network_without_a_form_fails_and_a_machine_without_compiler_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(error: type[Exception]) -> None:
        def raising(*_: object) -> None:
            raise error("the reason")

        monkeypatch.setattr(c_library, "c_library", raising)

    refuse(UnsupportedModelError)
    row = verify(bundle("mlp"), None)
    assert (row.passed, row.problem, row.compared) == (False, "the reason", 0)
    refuse(MissingRequirementError)
    with pytest.raises(MissingRequirementError):
        verify(bundle("mlp"), None)
