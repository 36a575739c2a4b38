"""Instructions of one time step of bundles, counted under emulation: ``python -m benchmarks.c.steps BUNDLE ...``.

Prints the table of docs/c_kernels_arm.md. Of networks that are computed step by step; the inputs are one pattern of integers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.c.emulated import Emulated
from benchmarks.c.instructions import PROCESSORS, missing
from qdeploy.export.c import program_files
from qdeploy.export.c.generator import generate_program
from qdeploy.export.c.memory import c_type
from qdeploy.export.c.targets import find_target
from qdeploy.runtime.bundle import read_bundle

__all__ = ["step_instructions"]


def step_instructions(bundle: Path, target: str) -> int | None:
    """Instructions of one call of ``model_step``; None of a network that has none."""
    found = read_bundle(bundle)
    program = generate_program(found.model, found.manifest, find_target(target), None)
    graph = program.graph
    if not graph.timed or graph.whole_sequences:
        return None
    arrays = [
        f"static {c_type(graph.tensors[name].dtype)} {program.parameters[name]}[{graph.tensors[name].entries}];\n"
        for name in (*graph.inputs, *graph.outputs)
    ]
    pattern = [
        f"    for (size_t n = 0; n < sizeof {name} / sizeof *{name}; n++) {{\n        {name}[n] = n * 7 % 32;\n    }}\n"
        for name in (program.parameters[name] for name in graph.inputs)
    ]
    arguments = ", ".join(program.parameters[name] for name in (*graph.inputs, *graph.outputs))
    text = "".join(
        [
            '#include "model.h"\n#include "emulated.h"\n',
            "static model_state state;\n",
            *arrays,
            "void emulated(void)\n{\n",
            "    int32_t repeats = 0;\n",
            '    moved(READ, opened("repeats", 7, READ_BYTES), &repeats, sizeof repeats);\n',
            *pattern,
            "    model_init(&state);\n",
            f"    for (int32_t n = 0; n < repeats; n++) {{\n        model_step(&state, {arguments});\n    }}\n}}\n",
        ]
    )
    sources = {**program_files(program, found.model), "main.c": text.encode()}
    with tempfile.TemporaryDirectory() as folder:
        built = Emulated.built(target, Path(folder), sources)
        once, twice = (built.run({"repeats": repeats.to_bytes(4, "little")}, traced=True)[1] for repeats in (1, 2))
    return twice - once


def main() -> None:
    """One row a bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--target", action="append", choices=list(PROCESSORS.values()))
    given = parser.parse_args()
    targets = given.target or ["pi5", "pi4", "pi2", "pi-zero", "cortex-m4", "cortex-m0plus"]
    for target in targets:
        lacking = missing(target)
        if lacking is not None:
            sys.exit(f"{target}: found no {lacking}")
    print(f"| bundle | {' | '.join(targets)} |")
    print(f"|---|{'---:|' * len(targets)}")
    for bundle in given.bundles:
        counts = [step_instructions(bundle, target) for target in targets]
        cells = ("whole sequences" if count is None else f"{count:,}" for count in counts)
        print(f"| `{bundle.name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
