"""The command line in this process: fast, and with the exit code that the shell would see."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from qdeploy.cli.group import run


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def qdeploy_command(capsys):
    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call
