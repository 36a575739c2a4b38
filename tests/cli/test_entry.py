"""A user's own module by ``package.module:function``."""

from __future__ import annotations

import sys

import pytest

from qdeploy.cli.entry import module_of_entry
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text("def build():\n    return 'the module'\n\nwidth = 3\n")
    (tmp_path / "needy_network.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("own_network", "needy_network"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("own_module")
def test_function_of_a_module_in_the_working_folder():
    assert module_of_entry("own_network:build") == "the module"


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("own_network", "package.module:function"),
        ("own_network:", "package.module:function"),
        ("absent_network:build", "no module 'absent_network'"),
        ("own_network:biuld", "it has build"),
        ("own_network:width", "no function 'width'"),
    ],
)
def test_wrong_entry_is_usage(entry, words):
    with pytest.raises(InvalidInputError, match=words):
        module_of_entry(entry)


@pytest.mark.usefixtures("own_module")
def test_package_that_the_module_needs_is_named():
    with pytest.raises(MissingRequirementError, match="a_package_that_nobody_has"):
        module_of_entry("needy_network:build")
