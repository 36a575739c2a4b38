"""selftest.c: it passes with the right model.c and fails with the smallest difference, and compiles without a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qdeploy.export.c import program_files
from qdeploy.export.c.generator import generate_program
from qdeploy.export.c.selftest import selftest_c
from qdeploy.export.c.targets import find_target
from qdeploy.runtime.bundle import Vector
from qdeploy.runtime.errors import InvalidInputError

from .running import COMPILER, WARNINGS, golden

pytestmark = pytest.mark.cc

NAMES = ("conv-2d", "quaternion-weights4", "rnn-relu-grid4", "rnn-relu-every", "both-directions-lstm")
"""Without steps, with the last step's output, with every step's, with whole sequences."""


def program_of(name: str, folder: Path, vectors: dict[str, Vector] | None = None, target: str = "host") -> Path:
    """The self-test of a golden bundle, built with the warnings that shall not appear."""
    files = golden(name)
    made = generate_program(files.model, files.manifest, find_target(target))
    for file, data in program_files(made, files.model).items():
        (folder / file).write_bytes(data)
    (folder / "selftest.c").write_bytes(selftest_c(made, files.vectors() if vectors is None else vectors))
    words = [COMPILER, *WARNINGS, "-O1", "selftest.c", "model.c", "-o", "selftest"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "selftest"


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", NAMES)
def test_golden_vectors_pass(name, tmp_path):
    done = run(program_of(name, tmp_path), "--no-time")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert "PASSED" in done.stdout
    assert "TIME" not in done.stdout


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    """A self-test of which the expected integers are changed: one output, and one state."""
    vector = golden("rnn-relu-every").vectors()
    case = next(iter(vector.values()))
    outputs = {name: array.copy() for name, array in case.outputs.items()}
    for array in outputs.values():
        array[(-1,) * array.ndim] += 1
    return program_of(
        "rnn-relu-every", tmp_path_factory.mktemp("changed"), {'o"dd */': Vector('o"dd */', case.inputs, outputs)}
    ), outputs


def test_the_first_difference_is_named(recurrent):
    program, outputs = recurrent
    done = run(program)
    assert done.returncode == 1
    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL ")]
    assert len(failures) == 2 * len(outputs)  # in one call, and step by step
    name, array = next(iter(outputs.items()))
    expected = int(array[(-1,) * array.ndim])
    batch = next(n for n, d in enumerate(golden("rnn-relu-every").manifest.outputs[0].shape) if d == "batch")
    size = array.size // array.shape[batch]
    assert f": {name}[{size - 1}]: found {expected - 1}, expected {expected}" in done.stdout
    assert any(", step by step: " in line for line in failures)
    assert "o_dd___" in done.stdout
    assert "TIME" not in done.stdout


def test_whole_sequences_are_as_long_as_those_of_the_calibration():
    files = golden("both-directions-lstm")
    made = generate_program(files.model, files.manifest, find_target("generic"))
    steps = {layer.extra["calibrated_steps"] for layer in files.manifest.layers if "calibrated_steps" in layer.extra}
    assert {made.max_steps} == steps == {10}
    assert b"#define MODEL_MAX_STEPS 10" in program_files(made, files.model)["model.h"]
    # Longer vectors cannot be checked: of none that is short enough nothing is left.
    short = generate_program(files.model, files.manifest, find_target("generic"), 9)
    with pytest.raises(InvalidInputError, match="golden vectors"):
        selftest_c(short, files.vectors())


def test_a_step_is_timed(tmp_path):
    done = run(program_of("rnn-relu-grid4", tmp_path))
    assert done.returncode == 0
    nanoseconds = float(done.stdout.rpartition("TIME ")[2].partition(" ns a step")[0])
    assert 1 < nanoseconds < 1e7


def test_a_bundle_without_vectors_is_refused():
    files = golden("rnn-relu-grid4")
    made = generate_program(files.model, files.manifest, find_target("generic"))
    with pytest.raises(InvalidInputError, match="golden vectors"):
        selftest_c(made, {})
