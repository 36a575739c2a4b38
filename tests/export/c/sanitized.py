"""Generated C under sanitizers: every golden bundle that C can be made of, by gcc and clang.

Run as ``python -m tests.export.c.sanitized [NAME ...]``: each bundle in every mode, with the sources of each layout. A name with
a slash is the path of any other bundle: ``build/compiled/qornn-copy``, which ``make verify-c`` left there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from qdeploy.export.c import program_files
from qdeploy.export.c.build import WARNINGS, build_file
from qdeploy.export.c.emitter import emitters
from qdeploy.export.c.generator import generate_program
from qdeploy.export.c.selftest import SELFTEST, selftest_c
from qdeploy.export.c.targets import find_target, host_twin
from qdeploy.export.onnx.integer_only import BORDERS
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.errors import QdeployError
from qdeploy.runtime.ops import DOMAIN, WEIGHT_OPERATORS, operator_name
from qdeploy.runtime.reference import STANDARD

from .running import golden

MODES = {
    "gcc sanitizers": ("gcc", ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1")),
    # Traps need no library of clang's own, which a machine with clang may lack.
    "clang sanitizer": ("clang", ("-fsanitize=undefined", "-fsanitize-trap=undefined", "-O1")),
    "gcc traps": ("gcc", ("-ftrapv", "-O0")),
    "clang traps": ("clang", ("-ftrapv", "-O0")),
}
"""Name to compiler and flags: memory, undefined behaviour, signed overflow."""

_SHOWN = 800
"""Characters of what a failing program said."""

LAYOUTS = tuple(dict.fromkeys((host_twin(), "pi4", "pi2", "generic")))
"""Targets of every layout of weights; what is not this machine's own runs its plain C here."""

BUNDLES = sorted(path.stem for path in (Path(__file__).parents[2] / "golden" / "bundles").glob("*.zip"))


def opened(name: str) -> BundleFiles:
    """A golden bundle, or the one at a path."""
    return read_bundle(name) if "/" in name else golden(name)


def operators(name: str) -> set[str]:
    """The layer operators of a golden bundle."""
    return {operator_name(node.op_type) for node in opened(name).model.graph.node if node.domain == DOMAIN}


def has_a_form(name: str) -> bool:
    """Whether a bundle's integers reach its borders, and all its nodes are operators that can be written in C."""
    standard = {node.op_type for node in opened(name).model.graph.node if node.domain != DOMAIN}
    # Flat files have other standard operators than those that move data.
    return operators(name) <= {*emitters(), *WEIGHT_OPERATORS} and standard <= STANDARD.keys() - BORDERS


def covering(names: Iterable[str]) -> list[str]:
    """A few bundles that have every operator together, those with many operators first."""
    missing = set().union(*(operators(name) for name in names))
    chosen: list[str] = []
    while missing:
        best = max(names, key=lambda name: len(operators(name) & missing))
        chosen.append(best)
        missing -= operators(best)
    return chosen


def run_sanitized(name: str, mode: str, target: str, folder: Path) -> str:
    """Builds the golden vectors' self-test of a bundle with warnings as errors and runs it.

    Returns what it said.

    Raises:
        BuildError: a warning, in the compiler's words.
        AssertionError: another integer, or what a sanitizer found.
    """
    compiler, flags = MODES[mode]
    files = opened(name)
    program = generate_program(files.model, files.manifest, find_target(target))
    sources = {**program_files(program, files.model), SELFTEST: selftest_c(program, files.vectors())}
    native = find_target("host").flags if target == host_twin() else ()
    command = [shutil.which(compiler) or compiler, *native]
    build_file(sources, "generic", "program", folder / "selftest", command=command, flags=(*WARNINGS, *flags))
    done = subprocess.run([folder / "selftest", "--no-time"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{done.stdout[:_SHOWN]}{done.stderr[:_SHOWN]}"
    assert "PASS" in done.stdout
    return done.stdout


def main(names: list[str]) -> int:
    """All modes and layouts; the exit code is the number of failures, at most 1."""
    failures = 0
    chosen = [name for name in names or BUNDLES if has_a_form(name)]
    for name in chosen:
        for mode in MODES:
            for target in LAYOUTS:
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        run_sanitized(name, mode, target, Path(folder))
                    except (AssertionError, QdeployError) as error:
                        failures += 1
                        print(f"{name}, {mode}, {target}: {error}")
    print(
        f"{len(chosen)} bundles, {len(MODES)} modes, {len(LAYOUTS)} layouts: {failures or 'no'} failure{'s' * (failures != 1)}"
    )
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
