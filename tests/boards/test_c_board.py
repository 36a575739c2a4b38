"""Generated C on emulated boards: the golden vectors, random integers and extremes give the reference's bits."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest

from qdeploy.boards import c_board, c_program, open_board, programs
from qdeploy.boards.emulated_program import EmulatedProgram
from qdeploy.cli.group import run
from qdeploy.export.c.build import build
from qdeploy.export.c.targets import TARGETS, find_target
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import ContractError, UnsupportedModelError
from qdeploy.verify.cases import CaseMaker

from .conftest import GOLDEN

BOARDS = [
    pytest.param("pi-zero", marks=pytest.mark.program("qemu-arm")),
    pytest.param("pi4", marks=pytest.mark.program("qemu-aarch64")),
    pytest.param("pi5", marks=pytest.mark.program("qemu-aarch64")),
    pytest.param("cortex-m4", marks=pytest.mark.program("qemu-system-arm")),
]
NETWORKS = ("rnn-relu-state8", "mlp-weights4")


def verified(capsys, *arguments: str) -> tuple[int, dict]:
    code = run(["verify", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.needs("ziglang")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("board", BOARDS)
def test_a_network_verifies_there(capsys, board, network):
    code, report = verified(capsys, str(GOLDEN / f"{network}.zip"), "--board", board)
    assert code == 0, report["voices"]
    assert report["mismatched_integers"] == 0
    voice = report["voices"][-1]
    assert voice["name"] == f"c on {board}, compiled"
    assert voice["compared_integers"] > 3000
    assert report["cases"]["golden"] == 2
    assert report["cases"]["extreme"] == 6
    if network.startswith("rnn"):
        # In single steps, with all states after each: random integers, and each golden vector.
        assert report["cases"]["cut"] == 5


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-system-arm")
@pytest.mark.program("qemu-arm")
def test_several_boards_are_one_call(capsys):
    words = ("--board", "cortex-m4,pi-zero", "--runtime", "c", "--case", "golden")
    code, report = verified(capsys, str(GOLDEN / "mlp.zip"), *words)
    assert code == 0
    assert [voice["name"] for voice in report["voices"][1:]] == ["c on cortex-m4, compiled", "c on pi-zero, compiled"]
    assert len({voice["compared_integers"] for voice in report["voices"]}) == 1


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-system-arm")
def test_a_wrong_weight_is_found(capsys, monkeypatch):
    """One bit of model.c: exit code 1, with the step, the index, both integers, and a command that repeats it."""
    right = c_board.program_files

    def wrong(program, model):
        files = right(program, model)
        text = files["model.c"].decode()
        place = text.index("{", text.index("int32_t scan_bias["))
        number = text[place + 1 :].split(",")[0].strip()
        files["model.c"] = (text[: place + 1] + text[place + 1 :].replace(number, str(int(number) + 4096), 1)).encode()
        return files

    monkeypatch.setattr(c_board, "program_files", wrong)
    assert run(["verify", str(GOLDEN / "rnn-relu-state8.zip"), "--board", "cortex-m4", "--case", "cut/steps"]) == 1
    out = capsys.readouterr().out
    assert "c on cortex-m4, compiled: case cut/steps: node scan (RNN), tensor" in out
    assert ", step 0, index [" in out
    assert "the reference gives" in out
    assert "--runtime c --board cortex-m4" in out


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-arm")
def test_a_sequence_longer_than_the_program_s_memory_comes_in_pieces(monkeypatch):
    monkeypatch.setattr(c_program, "_MOST_STEPS", 3)
    files = read_bundle(GOLDEN / "rnn-relu-every.zip")
    vector = next(iter(files.vectors().values()))
    feeds = dict(vector.inputs)
    for spec in files.manifest.states:
        batch = feeds["x"].shape[files.manifest.inputs[0].shape.index("batch")]
        feeds[spec.input] = np.full([batch, spec.shape[1]], spec.zero_point, spec.dtype)
    with closing(open_board("pi-zero", ["c"])) as board:
        found = board.open("c", files, threads=1, optimize=True).run(feeds)
    assert vector.inputs["x"].shape[files.manifest.inputs[0].time_axis] > 3
    for name, array in vector.outputs.items():
        assert (found[name] == array).all(), name


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-arm")
def test_a_whole_sequence_longer_than_the_program_s_memory_gets_a_larger_program():
    files = read_bundle(GOLDEN / "both-directions-lstm.zip")
    with closing(open_board("pi-zero", ["c"])) as board:
        engine = board.open("c", files, threads=1, optimize=True)
        steps = engine._most + 5
        feeds = CaseMaker(files.manifest, files.model, steps=steps, seed=0).random("random/0", 2).feeds
        found = engine.run(feeds)
    expected = open_engine("numpy", files.model).run(feeds)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name] == array).all(), name


def calling(statement: str) -> dict[str, bytes]:
    """A program that says ok behind the statement."""
    return {
        "main.c": f'#include "board.h"\nint main(void) {{\n{statement}\nboard_send("ok", 2);\nreturn 0;\n}}\n'.encode()
    }


FAULTS = {
    "unaligned": "static volatile uint32_t words[2];\n*(volatile uint32_t *)(void *)((volatile uint8_t *)words + 1) = 7u;",
    "trap": "__builtin_trap();",
    "refusal": "return 1;",
}


@pytest.mark.needs("ziglang")
@pytest.mark.parametrize(
    ("board", "fault"),
    [
        # The emulated core is one that faults where a Cortex-M0+ does.
        pytest.param("cortex-m0plus", "unaligned", marks=pytest.mark.program("qemu-system-arm")),
        pytest.param("cortex-m0plus", "trap", marks=pytest.mark.program("qemu-system-arm")),
        pytest.param("cortex-m4", "refusal", marks=pytest.mark.program("qemu-system-arm")),
        pytest.param("pi-zero", "trap", marks=pytest.mark.program("qemu-arm")),
    ],
)
def test_a_fault_is_an_error(board, fault):
    program = EmulatedProgram(find_target(board), c_program.build_sources(calling(FAULTS[fault]), board))
    with pytest.raises(ContractError, match=rf"the program on {board} ended \((signal SIG|exit code 1)"):
        program.ask(b"", 2)
    program.close()


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-system-arm")
def test_unaligned_words_are_no_fault_on_a_cortex_m4():
    program = EmulatedProgram(
        find_target("cortex-m4"), c_program.build_sources(calling(FAULTS["unaligned"]), "cortex-m4")
    )
    assert program.ask(b"", 2) == b"ok"
    program.close()


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-aarch64")
def test_a_dot_product_is_an_instruction_of_pi5_alone():
    made = c_program.build_sources(calling('__asm__ volatile("sdot v0.4s, v1.16b, v2.16b");'), "pi5")
    program = EmulatedProgram(find_target("pi5"), made)
    assert program.ask(b"", 2) == b"ok"
    program.close()
    program = EmulatedProgram(find_target("pi4"), made)
    with pytest.raises(ContractError, match=r"the program on pi4 ended .*SIGILL"):
        program.ask(b"", 2)
    program.close()


@pytest.mark.parametrize("machine", sorted({t.machine for t in TARGETS.values() if t.machine is not None}))
def test_every_machine_has_its_memories(machine):
    assert machine[machine.index("-M") + 1] in c_program.MEMORIES


@pytest.mark.needs("ziglang")
@pytest.mark.program("qemu-arm")
def test_borders_of_floats_are_refused(capsys):
    assert run(["verify", str(GOLDEN / "mlp-float-io.zip"), "--board", "pi-zero"]) == UnsupportedModelError.exit_code
    assert "export again without --float-io" in capsys.readouterr().err


def test_without_the_emulator_it_is_exit_code_4(capsys, monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name: None)
    assert run(["verify", str(GOLDEN / "mlp.zip"), "--board", "cortex-m7"]) == 4
    assert "the program qemu-system-arm is not on PATH; Debian, Ubuntu: apt-get install" in capsys.readouterr().err


@pytest.mark.program("qemu-arm")
def test_without_the_compiler_it_is_exit_code_4(capsys, monkeypatch):
    monkeypatch.setattr("qdeploy.export.c.build.find_spec", lambda name: None)
    monkeypatch.setattr(c_board, "compiler_version", c_board.compiler_version.__wrapped__)
    assert run(["verify", str(GOLDEN / "mlp.zip"), "--board", "pi2"]) == 4
    assert "ziglang is not installed; pip install 'qdeploy[c]'" in capsys.readouterr().err


@pytest.mark.needs("ziglang")
def test_the_text_is_clean_under_warnings():
    files = read_bundle(GOLDEN / "rnn-relu-every.zip")
    program = c_board.generate_program(files.model, files.manifest, find_target("pi4"))
    texts = {**c_board.program_files(program, files.model), "main.c": c_program.main_text(program).encode()}
    texts |= {name: c_program.ours(name) for name in ("board.h", "streams.c")}
    assert build(texts, "pi4", "archive", flags=["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"])
