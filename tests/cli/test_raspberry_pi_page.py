"""The programs of the page about the Raspberry Pi: the loops in Python, in C and with LiteRT say the same digits."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qdeploy.cli.group import run

PAGE = Path(__file__).parents[2] / "docs" / "raspberry_pi"

pytestmark = [pytest.mark.cc, *(pytest.mark.needs(package) for package in ("torch", "sklearn", "flatbuffers"))]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The page's bundle, of the network that comes with the package, and the page's files in it."""
    folder = tmp_path_factory.mktemp("page") / "digits"
    words = ["export", "qornn-digits", "-o", folder, "--format", "onnx,c,tflite", "--limit", 32, "-q"]
    assert run([str(word) for word in words]) == 0
    for path in PAGE.iterdir():
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def pixels(digits):
    return subprocess.run([sys.executable, "pixels.py"], cwd=digits, capture_output=True, text=True, check=True).stdout


def said_of(command, folder: Path, pixels: str) -> list[str]:
    done = subprocess.run(command, cwd=folder, input=pixels, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


@pytest.fixture(scope="module")
def labels():
    from qdeploy import datasets

    return [str(label) for label in datasets.load("sequential-digits").y[:3]]


def test_both_loops_see_the_digits(digits, pixels, labels):
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    words = ["cc", "-std=c99", *warnings, "-O1", "loop.c", "model.c", "-lm", "-o", "loop"]
    subprocess.run(words, cwd=digits, check=True)
    assert said_of([sys.executable, "loop.py"], digits, pixels) == labels
    assert said_of([digits / "loop"], digits, pixels) == labels


@pytest.mark.litert
def test_the_loop_of_litert_sees_them_without_qdeploy(digits, pixels, labels):
    assert said_of([sys.executable, "loop_litert.py"], digits, pixels) == labels
    modules = re.findall(r"^ *(?:from|import) (\w+)", (digits / "loop_litert.py").read_text(), re.MULTILINE)
    assert modules == ["sys", "numpy", "ai_edge_litert", "tflite_runtime"]


def test_the_packages_of_the_table_are_those_of_the_extras():
    """Wheels of tflite-runtime end with Python 3.11 and die with NumPy 2."""
    extras = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(line.startswith("tflite-runtime") and "python_version < '3.12'" in line for line in extras["tflite"])
    assert "numpy<2" in extras["tflite"]
    page = PAGE.with_suffix(".md").read_text()
    assert "`pip install tflite-runtime 'numpy<2'`" in page
    assert "`pip install ai-edge-litert`" in page


def test_the_scale_in_the_loop_is_the_models(digits):
    assert "#define SCALE 0.0625f" in (digits / "loop.c").read_text()
    assert "x: uint8[time, 1], scale 0.0625, zero point 0" in (digits / "model.h").read_text()
