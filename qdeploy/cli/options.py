"""Options that every command has, and how a report reaches the terminal."""

from __future__ import annotations

import functools
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import click

from .printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdeploy.runtime.litert_options import LitertOptions


class Report(Protocol):
    """What every report offers: a machine's reading and a person's."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""

    def lines(self) -> Sequence[str]:
        """Return the report as lines of text."""


@dataclass(frozen=True)
class Output:
    """Where words go: results to stdout, everything else to stderr, nothing else when quiet."""

    json: bool
    quiet: bool

    def report(self, report: Report, **extra: Any) -> None:
        """Print a report, for machines or for people; ``extra`` joins the machine's reading."""
        if self.json:
            self.dump({**report.to_dict(), **extra})
        elif not self.quiet:
            click.echo(printable("\n".join(report.lines())))

    def dump(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """Print plain values as JSON."""
        click.echo(json.dumps(value, indent=2, default=_plain))

    def say(self, message: str) -> None:
        """Tell people something that is not the result."""
        if not self.quiet:
            click.echo(printable(message), err=True)


def _plain(value: Any) -> Any:
    """Turn NumPy's scalars and arrays, and paths, into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``, ``-q`` and ``-v``; the command gets one ``output`` instead of them."""

    @click.option("--json", "as_json", is_flag=True, help="Machine output on stdout, words on stderr.")
    @click.option("-q", "--quiet", is_flag=True, help="Print no words; the exit code tells.")
    @click.option("-v", "--verbose", is_flag=True, help="Tell each step; show tracebacks.")
    @functools.wraps(function)
    def command(*args: Any, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> Any:
        if verbose:
            logging.basicConfig(format="%(name)s: %(message)s")  # to stderr
            logging.getLogger("qdeploy").setLevel(logging.DEBUG)
        return function(*args, output=Output(json=as_json, quiet=quiet), **options)

    return command


seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of what is random."
)
trust_option = click.option(
    "--trust", is_flag=True, help="Let the runtime c run the library that the bundle holds for this machine."
)
bundle_argument = click.argument("bundle", metavar="BUNDLE", type=click.Path())


def runtime_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--runtime NAME``, several times or comma separated, as a tuple of names (empty: all that are there)."""
    return names_option("--runtime", "runtimes", help_text)


def names_option(option: str, parameter: str, help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option of names, several times or comma separated, as a tuple (empty: not given)."""

    def split(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        del context, parameter
        return tuple(name.strip() for given in value for name in given.split(",") if name.strip())

    return click.option(option, parameter, metavar="NAME", multiple=True, callback=split, help=help_text)


def litert_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--resolver``, ``--delegate`` and ``--delegate-option``; the command gets one ``litert`` instead of them."""

    @click.option(
        "--resolver", metavar="NAME", help="Kernels of the runtime litert: default (with XNNPACK), plain or reference."
    )
    @click.option(
        "--delegate", metavar="FILE", help="Shared library of a delegate for the runtime litert; its code is run."
    )
    @click.option("--delegate-option", "delegate_options", metavar="KEY=VALUE", multiple=True, help="For the delegate.")
    @functools.wraps(function)
    def command(
        *args: Any, resolver: str | None, delegate: str | None, delegate_options: tuple[str, ...], **options: Any
    ) -> Any:
        return function(*args, litert=_litert(resolver, delegate, delegate_options), **options)

    return command


def _litert(resolver: str | None, delegate: str | None, given: tuple[str, ...]) -> LitertOptions | None:
    if resolver is None and delegate is None and not given:
        return None
    from qdeploy.runtime.litert_options import LitertOptions

    pairs = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise click.UsageError(f"--delegate-option {text}: expected KEY=VALUE")
        pairs[key] = value
    return LitertOptions(resolver, delegate, pairs)
