"""``qdeploy push``: what does a board compute, and how fast?"""

from __future__ import annotations

from pathlib import Path

import click

from .options import Output, bundle_argument, common_options, runtime_option


@click.command("push")
@bundle_argument
@click.argument("address", metavar="USER@HOST")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the ssh server there.")
@click.option("--identity", type=click.Path(path_type=Path), metavar="FILE", help="Private key for ssh.")
@click.option(
    "--ssh-config",
    "config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration that ssh reads instead of yours.",
)
@click.option("--python", metavar="PATH", help="Python there; python3 if not given.")
@click.option("--no-python", is_flag=True, help="Use no Python there: a program in C checks the golden vectors.")
@click.option("--target", metavar="NAME", help="Of that program; the board's processor if not given.")
@runtime_option("Runtimes to verify and measure there; all that are installed there when not given.")
@click.option("--samples", type=click.IntRange(1), help="Sequences or samples that verify runs there.")
@click.option("--bench/--no-bench", default=True, show_default=True, help="Measure there and here.")
@click.option(
    "--install",
    "install_there",
    is_flag=True,
    help="Put qdeploy, and what its Python lacks, into a private folder there.",
)
@click.option("--keep", is_flag=True, help="Leave the bundle there when it passed.")
@click.option(
    "--folder", metavar="PATH", help="Where it stays, from the home folder there; the bundle's name if not given."
)
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=900.0, show_default=True, help="Seconds for each part there."
)
@click.option(
    "-o",
    "--output",
    "report_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Report, as JSON; its text beside it as .txt.",
)
@common_options
def command(
    bundle: str, address: str, report_file: Path | None, output: Output, *, runtimes: tuple[str, ...], **options: object
) -> int:
    """Copy BUNDLE to a board, verify and measure it there, and bring the report back.

    The board needs an ssh server, and qdeploy; or Python and --install; or --no-python. Its copy is removed at the end unless
    --keep is given.
    Exit code 0: every integer that was computed there is right. 1: one is not. 4: the board cannot be reached, or lacks
    something.
    """
    from qdeploy.push import push
    from qdeploy.push.report_files import write_report

    report = push(bundle, address, runtimes=runtimes or None, say=output.say, **options)  # type: ignore[arg-type]
    output.report(report)
    for path in write_report(report, report_file):
        output.say(f"written: {path}")
    return 0 if report.passed else 1
