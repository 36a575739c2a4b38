"""What C takes of flash and RAM: the sums, against the compiler's own; and refusals with figures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qdeploy.export.c import c_files, program_files
from qdeploy.export.c.generator import generate_program
from qdeploy.export.c.memory_report import memory_report
from qdeploy.export.c.targets import find_target
from qdeploy.runtime.errors import UnsupportedModelError

from .running import COMPILER, golden

NAMES = ("conv-2d", "quaternion-weights4", "rnn-modrelu-state12", "both-directions-lstm")
SIZE = """
#include "model.h"
#include <stdio.h>
int main(void) { return printf("%lu", (unsigned long)sizeof(model_state)) < 0; }
"""
COMPILERS = [pytest.param("cortex-m4", marks=pytest.mark.needs("ziglang")), pytest.param("host", marks=pytest.mark.cc)]


def report_of(name: str, target: str, *, compiled: bool = False):
    files = golden(name)
    program = generate_program(files.model, files.manifest, find_target(target))
    return memory_report(program, program_files(program, files.model) if compiled else None), program


@pytest.mark.cc
@pytest.mark.parametrize("name", NAMES)
def test_state_size_is_the_compiler_s(name: str, tmp_path: Path) -> None:
    report, _ = report_of(name, "host")
    files = golden(name)
    (tmp_path / "model.h").write_bytes(c_files(files.model, files.manifest, "host")["model.h"])
    (tmp_path / "size.c").write_text(SIZE)
    subprocess.run([COMPILER, "size.c", "-o", "size"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "size"], capture_output=True, text=True, check=True).stdout
    assert report.state_size == int(said)
    assert report.state_size >= report.states + report.arena
    assert report.state_size - report.states - report.arena < 8  # what alignment leaves free


@pytest.mark.parametrize("name", NAMES)
def test_constants_are_those_of_the_layers(name: str) -> None:
    report, program = report_of(name, "cortex-m4")
    assert (
        report.constants
        == sum(array.bytes for array in program.arrays)
        == sum(layer.constants for layer in report.layers)
    )
    assert report.flash == report.constants  # code is not known without a compiler
    assert report.code is None
    assert report.stack is None
    assert "code not counted" in "\n".join(report.lines())


@pytest.mark.parametrize("target", COMPILERS)
def test_the_compiler_places_about_as_many_constants(target: str) -> None:
    plain, program = report_of("rnn-relu-grid4", target)
    report, _ = report_of("rnn-relu-grid4", target, compiled=True)
    # Short arrays become part of the code; aligned ones may leave a gap; fast kernels have small tables of their own.
    assert -64 * len(program.arrays) <= report.constants - plain.constants <= 64 * len(program.arrays) + 2048
    assert report.code is not None
    assert 200 < report.code < 20_000
    assert report.flash == report.constants + report.code


@pytest.mark.needs("ziglang")
def test_stack_is_that_of_the_deepest_call() -> None:
    report, _ = report_of("rnn-relu-grid4", "cortex-m4", compiled=True)
    assert report.stack is not None
    assert 32 < report.stack < 2048
    assert report.ram == report.state_size + report.stack


def test_limits_are_the_targets_unless_others_are_given() -> None:
    report, _ = report_of("rnn-relu-grid4", "cortex-m0plus")
    assert (report.flash_limit, report.ram_limit) == (2 << 20, 264 << 10)
    report.check()
    assert report.limited(1 << 10, None).ram_limit == 264 << 10
    linux, _ = report_of("rnn-relu-grid4", "pi4")
    assert linux.flash_limit is None
    linux.check()


def test_too_small_a_memory_is_refused_with_figures() -> None:
    report, _ = report_of("rnn-relu-grid4", "cortex-m0plus")
    with pytest.raises(UnsupportedModelError) as flash:
        report.limited(report.flash - 1, None).check()
    assert f"needs {report.flash:,} bytes" in str(flash.value)
    assert f"at most {report.flash - 1:,}" in str(flash.value)
    assert "--flash" in str(flash.value)
    assert "RAM:" not in str(flash.value)
    with pytest.raises(UnsupportedModelError, match=r"RAM: needs"):
        report.limited(None, report.ram - 1).check()
    report.limited(report.flash, report.ram).check()
    assert "TOO MUCH" in "\n".join(report.limited(1, 1).lines())
