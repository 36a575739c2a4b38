"""LiteRT's voices: a bundle's own ``model.tflite``, in a process of its own.

Whoever runs a bundle's file in his application runs these very bytes, so they are what is compared. They may come from anybody
and end the process that opens them; then this is what the voice has to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy.export.c.targets import TARGETS
from qdeploy.export.tflite.reader import check_integer_only, read_tflite
from qdeploy.litert_claims import kernel_uses
from qdeploy.runtime.c_samples import c_bundle
from qdeploy.runtime.errors import (
    ContractError,
    InvalidFileError,
    InvalidInputError,
    MissingRequirementError,
    QdeployError,
    UnsupportedModelError,
)
from qdeploy.runtime.litert_interpreter import Border
from qdeploy.runtime.litert_options import RESOLVERS, LitertOptions
from qdeploy.runtime.litert_rules import ARM32, ARM64, claim, processor
from qdeploy.tflite_file import NAME, trusted_tflite

if TYPE_CHECKING:
    from qdeploy.boards.machine import Machine
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.engines.engine import Array

__all__ = ["litert_engines", "shipped_tflite"]


def shipped_tflite(files: BundleFiles) -> tuple[bytes, str | None]:
    """The bytes to compare, and why they are not the ones that this version makes of the model, None where they are.

    The bundle's own file where it has one, else the one that is made.

    Raises:
        UnsupportedModelError: there is no file, and an operator has no form for LiteRT.
        MissingRequirementError: there is no file, and flatbuffers is not installed.
    """
    own = files.contents.get(NAME)
    try:
        return trusted_tflite(c_bundle(files)), None
    except InvalidFileError:
        if own is None:
            raise
        return own, (
            f"{NAME} is not what this version makes of model.onnx (the bundle is of qdeploy {files.manifest.qdeploy}): the "
            "bundle's own file is what was compared; run, validate and bench refuse it until the model is exported again"
            f"{_found_by_reading(own)}"
        )
    except (MissingRequirementError, UnsupportedModelError) as error:
        if own is None:
            raise
        return own, f"{NAME} cannot be made anew here ({error}): the bundle's own file is what was compared"


def _found_by_reading(own: bytes) -> str:
    """What the file says of itself that ours never do: that it is none, or that it computes in floating point."""
    try:
        check_integer_only(read_tflite(own, NAME), NAME)
    except InvalidFileError as error:
        return f". {error}"
    return ""


def litert_engines(
    files: BundleFiles,
    content: bytes,
    doubt: str | None,
    machine: Machine,
    not_claimed: list[str],
    options: LitertOptions | None = None,
) -> Iterator[tuple[str, Engine]]:
    """Each runtime of ``machine`` with each of its kernel sets for which the bits are claimed, and how it is called.

    What ends the process, and whatever a runtime says of a file that is in ``doubt``, is what the engine answers.

    Args:
        files: the bundle.
        content: the file.
        doubt: why it may not be what the model gives.
        machine: where.
        not_claimed: gets a line for each kernel set that rounds otherwise than a layer of the model says.
        options: only these kernels, or all with this delegate.

    Raises:
        MissingRequirementError: the machine runs no .tflite files.
        UnsupportedModelError: the runtime lacks an operator of a file that is as it should be.
        InvalidInputError: a delegate that is none, or one for a board.
    """
    options = options or LitertOptions()
    if options.delegate is not None and machine.board is not None:
        raise InvalidInputError(f"{options.delegate}: a delegate is a library of this machine; leave it or --board out")
    process = machine.litert()
    packages = process.packages() if process is not None else {}
    if process is None or not packages:
        raise MissingRequirementError(f"no LiteRT on {machine.board or 'this machine'}; pip install 'qdeploy[litert]'")
    uses, where = kernel_uses(files.model), _processor(machine)
    for package, installed in packages.items():
        for resolver in RESOLVERS if options.resolver is None else (options.resolver,):
            how = f"{package}, {resolver} kernels" if len(packages) > 1 else f"{resolver} kernels"
            how += f", delegate {Path(options.delegate).name}" if options.delegate is not None else ""
            why = claim(uses, package, installed.split()[-1], resolver, where)
            if why is not None:
                not_claimed.append(f"not claimed, not compared: {installed}, {resolver} kernels: {why}")
                continue
            try:
                engine: Engine = process.open(
                    content, Border.of(files.manifest), package=package, options=replace(options, resolver=resolver)
                )
            except QdeployError as error:
                if doubt is None and not isinstance(error, ContractError):
                    raise
                engine = _Refused(installed, error)
            yield how, engine


def _processor(machine: Machine) -> str | None:
    """As the table of rounding rules names it."""
    if machine.board is None:
        return processor()
    emulator = TARGETS[machine.board].emulator or ("none",)
    return {"qemu-aarch64": ARM64, "qemu-arm": ARM32}.get(emulator[0])


class _Refused:
    """A file that could not be opened; says so whenever it is asked."""

    name = "litert"

    def __init__(self, version: str, error: QdeployError) -> None:
        self.version = version
        self._error = error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Raises what was said when it was opened."""
        del feeds
        raise self._error
