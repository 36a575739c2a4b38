"""The group ``qdeploy`` and what all commands share: errors that become exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from qdeploy import __version__
from qdeploy.runtime.errors import MissingRequirementError, QdeployError

from .lazy_group import LazyGroup
from .printable import LONGEST_MESSAGE, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "export": "Turn a trained model into an integer-only bundle.",
    "verify": "Prove that every runtime computes the same bits.",
    "validate": "Measure what quantization cost on data with known answers.",
    "debug": "Show which tensor, layer or time step leaves the float model.",
    "run": "Compute one inference of a bundle, streaming too.",
    "inspect": "Show a bundle's operators, bits, bytes and head-room.",
    "bench": "Measure microseconds a step or sample, each runtime.",
    "push": "Copy a bundle to a board, verify and measure it there.",
    "list": "List operators, recipes, runtimes, models or datasets.",
    "doctor": "Say what this machine can run, and what is missing.",
    "train": "Train one of the models.",
    "board": "Prepare emulated boards for verify --board.",
    "study": "Measure what a choice of quantization costs.",
}
"""Name -> the line shown by ``qdeploy --help``; a command lives in ``<name>_command.py``."""


@click.group(
    cls=LazyGroup,
    lines=COMMANDS,
    module="qdeploy.cli.{}_command",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 fine, 1 a check failed, 2 usage, 3 the model is not supported, 4 something is missing.",
)
@click.version_option(__version__, package_name="qdeploy", prog_name="qdeploy")
def cli() -> None:
    """Trained quaternion and orthogonal recurrent networks become integer-only models, proven bit for bit."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error ends as one message on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result: Any = cli.main(given, prog_name="qdeploy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("qdeploy: interrupted", err=True)
        return 130
    except QdeployError as error:
        click.echo(f"qdeploy: {printable(str(error), longest=LONGEST_MESSAGE)}", err=True)
        return error.exit_code
    except BrokenPipeError:
        return 1
    except MemoryError:
        click.echo("qdeploy: out of memory; give fewer samples (--limit) or a smaller batch", err=True)
        return 4
    except Exception as error:  # the last resort: a message for people
        if "-v" in given or "--verbose" in given:
            raise
        return _tell_unexpected(error)
    return result if isinstance(result, int) else 0


def _tell_unexpected(error: Exception) -> int:
    from qdeploy.runtime.staging import NO_ROOM

    if isinstance(error, OSError) and error.errno in NO_ROOM:
        where = f" for {error.filename}" if error.filename else ", perhaps where the output goes"
        click.echo(f"qdeploy: no room on the disk{where} ({error.strerror}); free some space and repeat", err=True)
        return MissingRequirementError.exit_code
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in {"", "qdeploy"}:
        text = f"the package {package} is not installed; `qdeploy doctor` says how to get it"
        click.echo(f"qdeploy: {text}", err=True)
        return MissingRequirementError.exit_code
    click.echo(
        f"qdeploy: unexpected {type(error).__name__}: {printable(str(error), longest=LONGEST_MESSAGE)}\n"
        "This is a defect of qdeploy: please report it with the output of the same command and -v.",
        err=True,
    )
    return 1
