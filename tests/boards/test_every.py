"""The tables of ``make verify-boards``, and that a run goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, replace

import pytest

from . import every
from .conftest import GOLDEN
from .every import Row

PASSED = Row("net", "pi4", "c", 1000, 0, 2.0, passed=True, problem=None)
UNSUPPORTED = Row("net", "pi2", "c", 0, 0, 1.0, passed=False, problem="no form in C", unsupported=True)
FAILED = Row("net", "pi4", "onnxruntime", 500, 3, 4.0, passed=False, problem="y [0]: 7")


def cells(table) -> list[list[str]]:
    return [list(column.cells) for column in table.columns]


def test_tables_add_up():
    assert cells(every.by_network([PASSED, FAILED])) == [["net"], ["1 of 2"], ["1,500"], ["3"], ["6"]]
    assert cells(every.by_board([PASSED, FAILED])) == [
        ["pi4", "pi4 onnxruntime"],
        ["1 of 1", "0 of 1"],
        ["1,000", "500"],
        ["0", "3"],
        ["2", "4"],
    ]


def test_results_are_known_by_their_code_and_half_lines_count_for_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    assert every.read_results(path) == {}
    lines = [json.dumps({**asdict(PASSED), "code": "now"}), json.dumps({**asdict(FAILED), "code": "before"})]
    path.write_text("\n".join([*lines, lines[0][:40]]))
    assert every.read_results(path) == {
        ("net", "pi4", "c", "now"): PASSED,
        ("net", "pi4", "onnxruntime", "before"): FAILED,
    }


def test_files_generated_for_one_runtime_are_no_part_of_what_another_computes():
    digests = {runtime: every.code_digest(runtime) for runtime in ("c", "onnxruntime", "litert")}
    assert len(set(digests.values())) == 3
    assert every.code_digest("c") == digests["c"]


def test_one_kernel_set_of_litert_is_asked_for_by_name(monkeypatch, tmp_path):
    asked = []

    def run(words, **_):
        asked.append(words)
        return subprocess.CompletedProcess(words, 3, "", "no form")

    monkeypatch.setattr(every.subprocess, "run", run)
    rows = every.verify(tmp_path / "net", ["pi2", "pi4"], "litert", "default")
    assert [(row.board, row.unsupported, row.problem) for row in rows] == [
        ("pi2", True, "no form"),
        ("pi4", True, "no form"),
    ]
    every.verify(tmp_path / "net", ["pi4"], "onnxruntime", "default")
    assert asked[0][-3:] == ["--resolver", "default", "--json"]
    assert "--resolver" not in asked[1]


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-system-arm")
def test_a_network_on_one_board(monkeypatch, tmp_path, capsys):
    """Once in earnest, and the second time from what was kept."""
    monkeypatch.setattr(every, "places", lambda: [("cortex-m4", "c"), ("pi4", "c")])
    monkeypatch.setattr(every, "export", lambda name, folder: shutil.copy(GOLDEN / "mlp.zip", folder / name))
    words = ["every", "--output", str(tmp_path), "--board", "cortex-m4", "lenet300-digits"]
    monkeypatch.setattr("sys.argv", words)
    every.main()
    first = capsys.readouterr()
    assert "lenet300-digits: cortex-m4: " in first.err
    assert "1 of 1" in first.out
    monkeypatch.setattr(every, "verify", lambda *_: pytest.fail("it was verified before"))
    every.main()
    again = capsys.readouterr()
    assert again.err == first.err
    assert again.out == first.out


@pytest.mark.parametrize(
    ("rows", "code"), [([replace(PASSED, runtime="onnxruntime"), UNSUPPORTED], 3), ([UNSUPPORTED, FAILED], 1)]
)
def test_what_did_not_pass_is_named(monkeypatch, tmp_path, capsys, rows, code):
    """By a bundle's path: it is not exported."""
    monkeypatch.setattr(every, "places", lambda: [(row.board, row.runtime) for row in rows])
    made = {row.runtime: [replace(row, network="mlp")] for row in rows}
    monkeypatch.setattr(every, "verify", lambda bundle, boards, runtime, resolver: made[runtime])
    monkeypatch.setattr("sys.argv", ["every", "--output", str(tmp_path), str(GOLDEN / "mlp.zip")])
    with pytest.raises(SystemExit) as ended:
        every.main()
    assert ended.value.code == code
    out = capsys.readouterr().out
    assert all(f"mlp on {row.where}: {row.problem}" in out for row in rows if not row.passed)


def test_what_is_missing_is_exit_code_4(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        every.places()
    assert left.value.code == 4
    assert "qdeploy board setup" in capsys.readouterr().err
