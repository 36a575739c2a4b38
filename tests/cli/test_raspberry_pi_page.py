"""The programs of the page about the Raspberry Pi: the loop in Python and the loop in C say the same digits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qdeploy.cli.group import run

PAGE = Path(__file__).parents[2] / "docs" / "raspberry_pi"

pytestmark = [pytest.mark.cc, pytest.mark.needs("torch"), pytest.mark.needs("sklearn")]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The page's bundle, of the network that comes with the package, and the page's files in it."""
    folder = tmp_path_factory.mktemp("page") / "digits"
    words = ["export", "qornn-digits", "-o", folder, "--format", "onnx,c", "--limit", 32, "-q"]
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


def test_both_loops_see_the_digits(digits, pixels):
    from qdeploy import datasets

    labels = [str(label) for label in datasets.load("sequential-digits").y[:3]]
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    words = ["cc", "-std=c99", *warnings, "-O1", "loop.c", "model.c", "-lm", "-o", "loop"]
    subprocess.run(words, cwd=digits, check=True)
    assert said_of([sys.executable, "loop.py"], digits, pixels) == labels
    assert said_of([digits / "loop"], digits, pixels) == labels


def test_the_scale_in_the_loop_is_the_models(digits):
    assert "#define SCALE 0.0625f" in (digits / "loop.c").read_text()
    assert "x: uint8[time, 1], scale 0.0625, zero point 0" in (digits / "model.h").read_text()
