"""`import qdeploy` costs nothing, and its docstring lists what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qdeploy
from qdeploy.runtime import errors

HEAVY = ("torch", "onnxruntime", "onnx", "numpy", "rich", "sklearn")


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy():
    assert modules_after("import qdeploy").isdisjoint({*HEAVY, "click"})


def test_help_loads_nothing_heavy():
    statement = "from qdeploy.cli.group import run; import io, contextlib\n"
    statement += "with contextlib.redirect_stdout(io.StringIO()): assert run(['--help']) == 0"
    assert modules_after(statement).isdisjoint(HEAVY)


def test_loading_names_a_function_loads_no_torch():
    assert "torch" not in modules_after("import qdeploy; qdeploy.load; qdeploy.Bundle; qdeploy.export_model")


def test_docstring_names_the_whole_api():
    for name in qdeploy.__all__:
        assert name in qdeploy.__doc__, name


def test_all_errors_are_offered():
    assert set(errors.__all__) <= set(qdeploy.__all__)


@pytest.mark.parametrize("name", qdeploy.__all__)
def test_every_name_can_be_had(name):
    assert getattr(qdeploy, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="exprot"):
        qdeploy.exprot  # noqa: B018 - the attribute access is what is tested


def test_no_function_is_shadowed_by_a_module_of_its_name():
    """A submodule's import would replace the function of the same name."""
    import pkgutil

    public = set(qdeploy.__all__)
    assert public.isdisjoint(module.name for module in pkgutil.iter_modules(qdeploy.__path__))
