"""A process that writes is killed before, halfway through and after each of its steps: what stands there is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qdeploy.runtime.staging import recover

from ..export.test_bundle_writer import everything
from .steps import NEW, OLD
from .test_full_disk import trained

ROOT = Path(__file__).parents[2]


def outcomes(what: str, folder: Path) -> list[dict[str, Any]]:
    """What became of every process, in the order in which they were killed."""
    command = [sys.executable, "-m", "tests.interruption.steps", what, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {outcome["exit"] for outcome in found if outcome["how"] == "never"} == {0}
    assert {outcome["exit"] for outcome in found if outcome["how"] != "never"} == {-9}
    return found


def standing(target: Path) -> str:
    """Which of the two stands there."""
    if not target.exists():
        return "nothing"
    if target.is_file():
        content = target.read_bytes()
        assert content.count(b"PK\x01\x02") == 3, "half an archive"
        return "old" if b"old.bin" in content else "new"
    files = everything(target)
    sizes = {name: spec["bytes"] for name, spec in json.loads(files.pop("manifest.json"))["files"].items()}
    assert sizes == {name: len(content) for name, content in files.items()}
    assert set(files.values()) in ({OLD}, {NEW})
    return "old" if files["model.onnx"] == OLD else "new"


def test_a_bundle_is_whole_or_absent_and_the_previous_one_is_replaced_at_one_stroke(tmp_path: Path) -> None:
    stood: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes("bundles", tmp_path):
        folder, kind = tmp_path / outcome["folder"], outcome["kind"]
        found = standing(folder / "out")
        stood[kind, found] += 1
        beside = [path.name for path in folder.iterdir() if path.name != "out"]
        assert all(name.startswith(".out.qdeploy-") for name in beside), outcome
        if outcome["how"] == "never":
            assert (found, beside) == ("new", [])
        # What the next export does first.
        recover(folder / "out")
        assert [path.name for path in folder.iterdir()] in ([], ["out"]), outcome
        after = standing(folder / "out")
        # Where two folders cannot be exchanged there is a moment without either; it ends here.
        assert after == ("old" if (kind, found) == ("folder over folder, no exchange", "nothing") else found), outcome
    for kind in {kind for kind, _ in stood}:
        wanted = {"nothing", "new"} if " over " not in kind else {"old", "new"}
        assert {found for of, found in stood if of == kind} == wanted | (
            {"nothing"} if "no exchange" in kind else set()
        )
    assert sum(stood.values()) > 300
    assert stood["folder over folder, no exchange", "nothing"] <= 3


@pytest.mark.needs("torch")
def test_checkpoints_and_states_of_a_training_are_whole(tmp_path: Path) -> None:
    stood: Counter[tuple[str, float]] = Counter()
    for outcome in outcomes("checkpoints", tmp_path):
        folder, kind = tmp_path / outcome["folder"], outcome["kind"]
        value = trained(folder)
        stood[kind, value] += 1
        assert " over " not in kind or value > 0, outcome
        assert outcome["how"] != "never" or value == 2.0
    assert {key for key in stood if " over " not in key[0]} == {(k, v) for k in ("checkpoint", "state") for v in (0, 2)}
    assert sum(stood.values()) > 100
