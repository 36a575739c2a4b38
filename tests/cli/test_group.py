"""What all commands share: help, unknown names, errors that become exit codes."""

from __future__ import annotations

import pytest

from qdeploy.cli.board_command import BOARD_COMMANDS
from qdeploy.cli.group import COMMANDS, cli
from qdeploy.runtime import errors
from qdeploy.studies import STUDIES

# Studies and what is done with boards are commands of groups of their own.
GROUPS = {"study": STUDIES, "board": BOARD_COMMANDS}
ALL = [(name,) for name in COMMANDS if name not in GROUPS] + [
    (group, name) for group in GROUPS for name in GROUPS[group]
]


def test_help_lists_every_command(qdeploy_command):
    done = qdeploy_command("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.out


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_every_command_has_help_and_common_options(qdeploy_command, names):
    done = qdeploy_command(*names, "--help")
    assert done.code == 0
    assert {"--json", "--quiet", "--verbose"} <= set(done.out.replace(",", " ").split())


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_every_command_refuses_an_unknown_option(qdeploy_command, names):
    done = qdeploy_command(*names, "--colour-of-the-sky")
    assert done.code == 2
    assert "--colour-of-the-sky" in done.err


def test_unknown_command_names_those_that_exist(qdeploy_command):
    done = qdeploy_command("exprot")
    assert done.code == 2
    assert "exprot" in done.err
    assert "export, verify, validate" in done.err


def test_version(qdeploy_command):
    done = qdeploy_command("--version")
    assert (done.code, done.out) == (0, "qdeploy, version 0.1.0\n")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_ends_as_its_message_and_exit_code(qdeploy_command, monkeypatch, name):
    error = getattr(errors, name)

    def fail(*args, **kwargs):
        raise error("node fc1: what was found")

    monkeypatch.setattr("qdeploy.load", fail)
    done = qdeploy_command("inspect", "somewhere")
    assert done.code == error.exit_code
    assert (done.out, done.err) == ("", "qdeploy: node fc1: what was found\n")


def test_unexpected_error_asks_for_a_report(qdeploy_command, monkeypatch):
    def fail(path):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("qdeploy.load", fail)
    done = qdeploy_command("inspect", "somewhere")
    assert done.code == 1
    assert "ZeroDivisionError: by zero" in done.err
    assert "-v" in done.err
    with pytest.raises(ZeroDivisionError):
        qdeploy_command("inspect", "somewhere", "-v")


def test_missing_package_is_the_machine_s_lack(qdeploy_command, monkeypatch):
    def fail(path):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr("qdeploy.load", fail)
    done = qdeploy_command("inspect", "somewhere")
    assert done.code == 4
    assert "torch is not installed" in done.err
    assert "qdeploy doctor" in done.err


def test_interruption_is_no_traceback(qdeploy_command, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("qdeploy.load", interrupt)
    done = qdeploy_command("inspect", "somewhere")
    assert (done.code, done.err.strip()) == (130, "qdeploy: interrupted")


def test_commands_have_a_docstring_with_their_exit_codes():
    context = cli.make_context("qdeploy", ["--help"], resilient_parsing=True)
    for name in ("verify", "validate"):
        command = cli.get_command(context, name)
        assert command is not None
        assert "Exit code" in command.help
