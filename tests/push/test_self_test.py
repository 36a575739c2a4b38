"""A board without Python: a program in C checks the golden vectors there and times a step."""

from __future__ import annotations

import pytest

from qdeploy.export.bundle import file_specs, npz_bytes, write_bundle
from qdeploy.push.board import Board
from qdeploy.push.run import plan_of
from qdeploy.push.self_test import SelfTest, chosen_target
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

from .conftest import folders_left

NO_PYTHON = ("--no-python", "--json")
on_a_board = [pytest.mark.program("sshd"), pytest.mark.cc]


class TestOnABoard:
    pytestmark = on_a_board

    def test_built_there_by_its_own_compiler(self, push_to, board, tmp_path):
        done = push_to(*NO_PYTHON)
        assert done.code == 0, done.err
        test = done.report["self_test"]
        assert test["passed"] is True
        assert test["samples"] == 4
        assert test["integers"] == 4 * 3
        assert test["built"].startswith("built there")
        assert test["nanoseconds"] > 0
        assert [time["name"] for time in done.report["times"]] == ["C, self-test"]
        assert done.report["times"][0]["here"] > 0
        assert done.report["verify"] is None
        text = (tmp_path / "report.txt").read_text()
        assert "passed: the golden vectors give the same bits (4 samples, 12 integers)" in text
        assert "µs a sample" in text
        assert folders_left(board) == []

    def test_built_here_for_a_board_with_nothing(self, push_to, bare_board):
        done = push_to(*NO_PYTHON, "--target", "host", "--no-bench", config=bare_board.config)
        assert done.code == 0, done.err
        test = done.report["self_test"]
        assert test["built"].startswith("built here")
        assert test["nanoseconds"] is None
        assert done.report["board"]["compiler"] is None
        assert done.report["board"]["python"] is None
        assert folders_left(bare_board) == []

    def test_a_wrong_integer_is_exit_code_1(self, push_to, bundle, board, tmp_path, capsys):
        """The bundle says that another integer is right: the program on the board finds the one that differs."""
        from qdeploy.cli.group import run

        files = read_bundle(bundle, everything=True)
        vectors = {f"{v.name}/input/{k}": a for v in files.vectors().values() for k, a in v.inputs.items()}
        vectors |= {f"{v.name}/output/{k}": a.copy() for v in files.vectors().values() for k, a in v.outputs.items()}
        name = next(key for key in vectors if key.endswith("output/logits"))
        vectors[name][1, 2] += 1
        contents = {key: data for key, data in files.contents.items() if key != "manifest.json"}
        contents["vectors.npz"] = npz_bytes(vectors)
        manifest = files.manifest.__class__(**{**files.manifest.__dict__, "files": file_specs(contents)})
        write_bundle(tmp_path / "wrong", manifest, contents, zipped=False, force=False)
        words = ["push", tmp_path / "wrong", "board", "--ssh-config", board.config, "--no-python", "--keep"]
        assert run([str(word) for word in words]) == 1
        expected = int(vectors[name][1, 2])
        said = capsys.readouterr().out
        assert f"sample 1: logits[2]: found {expected - 1}, expected {expected}" in said
        assert "FAILED there" in said
        assert not (board.home / "wrong").exists()
        assert folders_left(board) == []

    def test_a_compiler_that_refuses(self, push_to, board):
        compiler = board.put_program("cc", "#!/bin/sh\necho 'internal compiler error' >&2\nexit 1\n")
        done = push_to(*NO_PYTHON)
        compiler.unlink()
        assert done.code == 4
        assert "internal compiler error" in done.err
        assert folders_left(board) == []

    def test_options_that_do_not_go_together(self, push_to):
        done = push_to("--no-python", "--runtime", "onnxruntime")
        assert done.code == 2
        assert "c alone" in done.err
        done = push_to("--no-python", "--target", "abacus")
        assert done.code == 2
        assert "abacus" in done.err


PASSED = "MODEL abc qdeploy 0.1.0\nPASS a, sample 0\nPASSED 1 of 1 samples, 3 integers\nTIME 12.5 ns a step\n"


def test_what_the_program_says_is_read():
    test = SelfTest.parse(PASSED, 0, target="pi4", built="there")
    assert (test.passed, test.samples, test.integers, test.nanoseconds, test.unit) == (True, 1, 3, 12.5, "step")
    assert test.microseconds == 0.0125


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (PASSED, 1),
        ("FAIL a: y[0]: found 1, expected 2\nFAILED 0 of 1 samples, 3 integers\n", 1),
        ("PASSED 0 of 0 samples, 0 integers\n", 0),
    ],
)
def test_anything_else_is_no_pass(text, code):
    assert not SelfTest.parse(text, code, target="pi4", built="there").passed


@pytest.mark.parametrize(("text", "code"), [("", 0), ("PASSED", 0), (PASSED, 132), ("Illegal instruction\n", 132)])
def test_a_program_that_does_not_run_is_told(text, code):
    with pytest.raises(MissingRequirementError, match=f"exit code {code}"):
        SelfTest.parse(text, code, target="pi4", built="there")


@pytest.mark.parametrize(
    ("machine", "target"), [("aarch64", "pi4"), ("armv7l", "pi2"), ("armv6l", "pi-zero"), ("riscv64", "generic")]
)
def test_the_processor_chooses_the_target(machine, target):
    board = Board(machine, "Linux", None, "/home/pi")
    assert chosen_target(board, None) == target
    assert chosen_target(board, "pi5") == "pi5"
    with pytest.raises(InvalidInputError):
        chosen_target(board, "abacus")


@pytest.mark.parametrize(
    ("compiler", "runtimes", "options", "expected"),
    [
        ("cc", None, {}, (True, None, False)),
        ("cc", ("onnxruntime", "c"), {}, (True, ("onnxruntime", "c"), False)),
        (None, ("onnxruntime", "c"), {}, (True, ("onnxruntime",), True)),
        (None, ("c",), {}, (False, (), True)),
        (None, None, {}, (True, None, False)),
        ("cc", None, {"target": "pi4"}, (True, None, True)),
        ("cc", None, {"no_python": True}, (False, None, True)),
        ("cc", ("c",), {"no_python": True}, (False, None, True)),
    ],
)
def test_c_is_a_runtime_where_there_is_a_compiler_and_the_self_test_elsewhere(compiler, runtimes, options, expected):
    board = Board("aarch64", "Linux", None, "/home/pi", python="python3", compiler=compiler)
    plan = plan_of(board, runtimes, **{"target": None, "no_python": False, **options})
    assert (plan.python, plan.runtimes, plan.self_test) == expected
