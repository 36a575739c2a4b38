"""``qdeploy study``: what a choice of quantization costs, on trained networks and their data; one command a study."""

from __future__ import annotations

import click

from qdeploy.studies import STUDIES

from .lazy_group import LazyGroup


@click.group(
    "study",
    cls=LazyGroup,
    lines=STUDIES,
    module="qdeploy.cli.studies.{}",
    kind="study",
    heading="Studies",
    subcommand_metavar="STUDY [OPTIONS] ...",
)
def command() -> None:
    """Measure what a choice costs a network, or a group of them, on labelled data.

    Every integer form is also compared between the NumPy reference and onnxruntime. qdeploy study STUDY --help tells what
    each takes.
    """
