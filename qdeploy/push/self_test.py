"""The C of a bundle on a board without Python: a program that checks the golden vectors and times a step.

All of its text is generated here from ``model.onnx`` and ``vectors.npz``; C that a bundle brings is not used.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy.runtime.errors import BuildError, MissingRequirementError

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles

    from .board import Board
    from .remote_folder import RemoteFolder

__all__ = ["SelfTest", "chosen_target", "self_test_here", "self_test_there", "sources"]

_PROGRAM = "selftest"

# What the board's own processor can do, where its compiler knows such a processor; else plain.
_BUILD = """
cd {folder} || exit 125
for native in {native} ''; do
  {compiler} -O3 -std=c99 $native selftest.c model.c -o selftest 2> build.log && exit 0
done
tail -n 3 build.log >&2
exit 1
"""


@dataclass(frozen=True)
class SelfTest:
    """What the program said.

    Attributes:
        target: whose layout its weights have.
        built: where it was compiled, and by what.
        passed: whether every sample of the golden vectors gave the right integers.
        samples: how many samples there are.
        integers: how many were compared.
        failures: a line for each sample that did not pass.
        nanoseconds: of a step or sample; None where it was not measured.
        unit: ``step`` or ``sample``.
    """

    target: str
    built: str
    passed: bool
    samples: int
    integers: int
    failures: tuple[str, ...]
    nanoseconds: float | None
    unit: str | None

    @classmethod
    def parse(cls, text: str, code: int, *, target: str, built: str) -> SelfTest:
        """Reads what the program printed.

        Raises:
            MissingRequirementError: it is not what the program prints.
        """
        verdict = re.search(r"^(PASSED|FAILED) (\d+) of (\d+) samples, (\d+) integers$", text, re.MULTILINE)
        if verdict is None or code not in (0, 1):
            said = " ".join(text.strip().splitlines()[-3:]) or "nothing"
            hint = "; Illegal instruction: it was built for another processor, see --target" if code in (132, 4) else ""
            raise MissingRequirementError(f"the self-test program ended with exit code {code} and said: {said}{hint}")
        measured = re.search(r"^TIME (\d+(?:\.\d+)?) ns a (step|sample)$", text, re.MULTILINE)
        return cls(
            target=target,
            built=built,
            passed=code == 0 and verdict[1] == "PASSED" and verdict[2] == verdict[3] != "0",
            samples=int(verdict[3]),
            integers=int(verdict[4]),
            failures=tuple(re.findall(r"^FAIL (.*)$", text, re.MULTILINE)),
            nanoseconds=float(measured[1]) if measured else None,
            unit=measured[2] if measured else None,
        )

    @property
    def microseconds(self) -> float | None:
        """Of a step or sample; None where it was not measured."""
        return None if self.nanoseconds is None else self.nanoseconds / 1000

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"self-test in C for {self.target}, {self.built}"]
        lines += [f"  {failure}" for failure in self.failures]
        verdict = "passed: the golden vectors give the same bits" if self.passed else "FAILED there"
        lines.append(f"{verdict} ({self.samples} samples, {self.integers:,} integers)")
        return lines


def chosen_target(board: Board | None, target: str | None) -> str:
    """The target that was named, or that of the board's processor.

    Raises:
        InvalidInputError: there is no such target.
    """
    from qdeploy.export.c.targets import find_target, machine_target

    if target is not None or board is None:
        return find_target(target or "generic").name
    return machine_target(board.machine)


def sources(files: BundleFiles, target: str) -> dict[str, bytes]:
    """``model.h``, ``model.c`` and ``selftest.c``.

    Raises:
        UnsupportedModelError: the model has no form in C.
        InvalidInputError: the bundle has no golden vectors.
    """
    from qdeploy.export.c import program_files
    from qdeploy.export.c.generator import generate_program
    from qdeploy.export.c.selftest import SELFTEST, selftest_c
    from qdeploy.export.c.targets import find_target

    program = generate_program(files.model, files.manifest, find_target(target))
    return {**program_files(program, files.model), SELFTEST: selftest_c(program, files.vectors())}


def self_test_there(place: RemoteFolder, board: Board, files: BundleFiles, target: str, *, measure: bool) -> SelfTest:
    """Builds the program, by the board's compiler where it has one, else here, and runs it there.

    Args:
        place: the folder on the board.
        board: what it is.
        files: the bundle.
        target: whose layout and instructions.
        measure: time a step.

    Raises:
        MissingRequirementError: no compiler for the target, or the program does not run there.
        BuildError: a compiler refused the sources.
    """
    made = sources(files, target)
    where = place.connection.address
    if board.compiler is not None:
        folder = place.send(made, "c")
        # gcc takes -mcpu=native on x86, too, and means another thing by it.
        native = "-mcpu=native" if board.machine.startswith(("aarch64", "arm")) else "-march=native"
        script = _BUILD.format(folder=shlex.quote(folder), compiler=shlex.quote(board.compiler), native=native)
        done = place.connection.run(script, timeout=place.timeout)
        if done.code:
            raise BuildError(f"{where}: {board.compiler} refused the sources there: {done.err.strip()[-2000:]}")
        built = f"built there by {board.compiler}"
    else:
        from qdeploy.export.c.build import build, compiler_version

        program = build(made, target, "program", flags=["-s"], time_limit=place.timeout)  # -s: no symbols
        folder = place.send({**made, _PROGRAM: program}, "c")
        built = f"built here by {compiler_version(target)}"
    words = [f"{folder}/{_PROGRAM}", *([] if measure else ["--no-time"])]
    place.connection.run(f"chmod 755 {shlex.quote(words[0])}", timeout=place.timeout)
    done = place.run(words)
    try:
        return SelfTest.parse(f"{done.out}\n{done.err}", done.code, target=target, built=built)
    except MissingRequirementError as error:
        raise MissingRequirementError(f"{where}: {error}") from error


def self_test_here(files: BundleFiles, *, time_limit: float = 120.0) -> SelfTest | None:
    """The same test on this machine, for comparison; None where there is no compiler."""
    from qdeploy.export.c.build import build_file, compiler_version
    from qdeploy.export.c.targets import source_target

    target = source_target("host")
    with tempfile.TemporaryDirectory(prefix="qdeploy-selftest-") as folder:
        program = Path(folder) / _PROGRAM
        try:
            build_file(sources(files, target), "host", "program", program, time_limit=time_limit)
        except MissingRequirementError:
            return None
        done = subprocess.run([program], capture_output=True, text=True, timeout=time_limit, check=False)  # noqa: S603 - just built
    return SelfTest.parse(
        done.stdout, done.returncode, target=target, built=f"built here by {compiler_version('host')}"
    )
