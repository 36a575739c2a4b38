"""Versions, ranges and the list of tested versions agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import qdeploy

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TESTED = dict(
    line.split("==") for line in (ROOT / "qdeploy" / "tested_versions.txt").read_text().splitlines() if "==" in line
)
DIRECT = [
    text
    # tflite-runtime needs an older NumPy: its environment is another one.
    for group in (PROJECT["dependencies"], *(v for k, v in PROJECT["optional-dependencies"].items() if k != "tflite"))
    for text in group
    if not text.startswith("qdeploy")
]


def test_version_is_the_package_s():
    assert PROJECT["version"] == qdeploy.__version__


@pytest.mark.parametrize("requirement", DIRECT)
def test_tested_version_lies_in_the_declared_range(requirement):
    name, minimum = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    tested = {key.lower().replace("_", "-"): value for key, value in TESTED.items()}[name]
    assert [int(part) for part in tested.split(".")] >= [int(part) for part in minimum.split(".")]


def test_tested_versions_carry_no_local_suffix():
    assert not [version for version in TESTED.values() if "+" in version]
