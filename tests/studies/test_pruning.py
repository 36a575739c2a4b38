"""The study of pruned networks: what is trained, counted, and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.studies import pruning

pytestmark = [pytest.mark.needs("torch"), pytest.mark.needs("matplotlib")]

WEIGHTS = {
    "lenet300-digits": 64 * 300 + 300 * 100 + 100 * 10,
    "quaternion-lenet300-digits": (64 * 300 + 300 * 100) // 4 + 1000,
}


def test_real_and_quaternion(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    report = pruning.run(
        "quaternion-lenet300-digits",
        tmp_path,
        iterations=1,
        epochs=1,
        limit=60,
        progress=lambda *stage: stages.append(stage),
    )
    counts = [(row.network, row.iteration, row.weights, row.remaining) for row in report.rows]
    expected = []
    for network in ("quaternion-lenet300-digits", "lenet300-digits"):
        weights = WEIGHTS[network]
        expected += [(network, 0, weights, weights), (network, 1, weights, weights - round(0.2 * weights))]
    assert counts == expected
    assert all(row.integer_form.differing == 0 < row.integer_form.compared for row in report.rows)
    assert ("training lenet300-digits-seed0", 1000, 1000) in stages
    assert stages[-1] == ("judging lenet300-digits-seed0", 2, 2)
    table, page, picture = pruning.write(report, tmp_path)
    assert json.loads(table.read_text(encoding="utf-8")) == json.loads(json.dumps(report.to_dict()))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(
        "digits, 60 test samples; 20 % of the remaining weights an iteration, 1 epochs each, seed 0"
    )
    assert [line.split(" | ")[1:3] for line in lines[4:]] == [
        [f"{remaining:,}", f"{100 * remaining / weights:.1f} %"] for _, _, weights, remaining in expected
    ]
    assert report.lines()[-1].startswith("0 of ")


@pytest.mark.parametrize(
    ("config", "options", "error", "words"),
    [
        ("lenet300-digits", {"iterations": 0}, InvalidInputError, "0 iterations and 1 seeds"),
        ("lenet300-digits", {"seeds": ()}, InvalidInputError, "20 iterations and 0 seeds"),
        ("lenet300-digits", {"twin": "lenet300-mnist"}, InvalidInputError, "lenet300-mnist trains on mnist"),
        ("gru-digits", {"iterations": 1}, UnsupportedModelError, "weight_ih_l0 is a weight of GRU"),
    ],
)
def test_what_cannot_be_studied(
    config: str, options: dict[str, object], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        pruning.run(config, tmp_path, **options)  # type: ignore[arg-type]  # each case has its own
