"""The packages that pyproject.toml lists are the folders on disk, and none is missing."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
MAPPED = {"qdeploy": "qdeploy", "qdeploy.export": "export", "qdeploy.models": "models", "qdeploy.runtime": "runtime"}


def packages_on_disk() -> set[str]:
    found = set()
    for package, folder in MAPPED.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *inner)))
    return found


def test_every_folder_with_code_is_a_listed_package():
    assert set(SETUPTOOLS["packages"]) == packages_on_disk()


def test_every_python_file_lies_in_a_package():
    stray = [
        str(path.relative_to(ROOT))
        for folder in MAPPED.values()
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert stray == []


def test_mapping_is_the_layout():
    assert SETUPTOOLS["package-dir"] == MAPPED


@pytest.mark.parametrize("package", sorted(SETUPTOOLS["package-data"]))
def test_every_other_file_is_package_data(package):
    folder = ROOT / MAPPED[package]
    nested = [
        ROOT / other for other in MAPPED.values() if (ROOT / other).is_relative_to(folder) and ROOT / other != folder
    ]
    taken = {path for pattern in SETUPTOOLS["package-data"][package] for path in folder.glob(pattern)}
    others = {
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and not any(path.is_relative_to(n) for n in nested)
    }
    assert others == taken
