"""The C++ program of the page about LiteRT in C++ and on Android: compiled, run, and compared with golden vectors."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from qdeploy.cli.group import run
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.tflite_file import trusted_tflite

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "litert_cpp"
GOLDEN = Path(__file__).parents[1] / "golden" / "bundles"
SIGNATURES = ("step", "serving_default")

# libLiteRt.so is part of this package.
pytestmark = [pytest.mark.program("g++"), pytest.mark.needs("ai_edge_litert"), pytest.mark.needs("flatbuffers")]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """As the page builds it, with every warning an error."""
    folder = tmp_path_factory.mktemp("cpp")
    library = Path(find_spec("ai_edge_litert").submodule_search_locations[0]) / "libLiteRt.so"
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    words = ["g++", "-std=c++17", *warnings, PAGE / "classify.cpp", library, f"-Wl,-rpath,{library.parent}"]
    subprocess.run([*words, "-o", folder / "classify"], check=True)
    return folder / "classify"


def said_of(program: Path, model: Path, signature: str, steps: str) -> list[tuple[int, list[int]]]:
    """Of each sequence the class and the integers."""
    done = subprocess.run(
        [program, model, signature], input=steps, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = [re.fullmatch(r"class (\d+): ([-\d ]+)", line) for line in done.stdout.splitlines()]
    return [(int(line[1]), [int(word) for word in line[2].split()]) for line in lines]


def golden(files: BundleFiles) -> tuple[str, list[list[int]]]:
    """The golden samples as real numbers, a step a line, and the integers that the last step of each gives."""
    spec, output = files.manifest.inputs[0], files.manifest.outputs[0]
    vectors = files.vectors()["samples"]
    x = np.moveaxis(vectors.inputs[spec.name], (spec.batch_axis, spec.time_axis), (0, 1))
    reals = (x.astype(np.float64) - spec.zero_point) * spec.scale
    sequences = ["".join(" ".join(map(repr, step.ravel().tolist())) + "\n" for step in sample) for sample in reals]
    y = np.moveaxis(vectors.outputs[output.name], output.shape.index("batch"), 0)
    last = y[:, -1] if "time" in output.shape else y
    return "".join(sequence + "\n" for sequence in sequences), last.reshape(len(y), -1).tolist()


@pytest.mark.parametrize("name", ["rnn-relu-grid4", "gru-state8", "lstm-two-layers", "lstm-state16"])
def test_both_signatures_give_the_golden_integers(program, tmp_path, name):
    """States of 8 and 16 bits, several of them, and outputs of the last or of every step."""
    files = read_bundle(GOLDEN / f"{name}.zip")
    (tmp_path / "model.tflite").write_bytes(trusted_tflite(files))
    steps, integers = golden(files)
    for signature in SIGNATURES:
        said = said_of(program, tmp_path / "model.tflite", signature, steps)
        assert [values for _, values in said] == integers
        assert [best for best, _ in said] == [int(np.argmax(values)) for values in integers]


def test_what_is_wrong_is_said(program, tmp_path):
    (tmp_path / "model.tflite").write_bytes(trusted_tflite(read_bundle(GOLDEN / "rnn-relu-grid4.zip")))
    for words, steps, message in [
        (["model.tflite", "steps"], "", "the file has no signature steps"),
        (["model.tflite", "step"], "1 2 3 4 5 6 7\n", "x: found 7 values, expected"),
        (["absent.tflite", "step"], "", "absent.tflite: LiteRT's status"),
        ([], "", "usage: "),
    ]:
        done = subprocess.run(
            [program, *words], cwd=tmp_path, input=steps, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == (1 if words else 2)
        assert message in done.stderr


@pytest.mark.needs("torch")
@pytest.mark.needs("sklearn")
def test_the_page_s_network_sees_the_digits_and_has_the_names_of_the_kotlin_program(program, tmp_path):
    from qdeploy import datasets

    words = ["export", "qornn-digits", "-o", tmp_path / "digits", "--format", "onnx,tflite", "--limit", 32, "-q"]
    assert run([str(word) for word in words]) == 0
    model = tmp_path / "digits" / "model.tflite"
    shutil.copy(PAGE / "steps.py", tmp_path)
    steps = subprocess.run(
        [sys.executable, "steps.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    streamed, whole = (said_of(program, model, signature, steps) for signature in SIGNATURES)
    assert streamed == whole
    assert [best for best, _ in whole] == datasets.load("sequential-digits").y[:3].tolist()

    manifest = read_bundle(tmp_path / "digits").manifest
    (x,), (output,), (state,) = manifest.inputs, manifest.outputs, manifest.states
    assert (x.name, x.dtype, x.scale, x.zero_point) == ("x", "uint8", 0.0625, 0)
    assert (state.dtype, state.zero_point, output.dtype, output.shape) == ("int16", 0, "int16", ("batch", 10))
    kotlin = (DOCS / "litert_cpp.md").read_text().partition("```kotlin")[2]
    for text in (
        f'"{x.name}" to x',
        f'"{state.input}" to state',
        f'"{state.output}" to next',
        f'"{output.name}" to output',
    ):
        assert text in kotlin
    assert f"2 * {state.shape[-1]}" in kotlin
