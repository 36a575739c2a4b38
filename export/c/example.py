"""A short program that runs a golden vector of a bundle, for a reader to start from: example.c, golden.h, an Arduino sketch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.c.generator import Program
from qdeploy.export.c.memory import c_type
from qdeploy.runtime.manifest import InputSpec, OutputSpec

__all__ = ["example", "golden_header", "sketch"]

CASE = "samples"
"""The case of vectors.npz that the example runs: calibration samples, from the zero state."""

_LINE = 110
"""Characters of a line of numbers."""


def golden_header(program: Program, vectors: Mapping[str, NDArray[Any]]) -> bytes:
    """``golden.h``: the first sample of the golden vectors as C arrays, inputs and the outputs that must come.

    Args:
        program: the generated model, for names and layouts.
        vectors: the arrays of vectors.npz, by their names there.
    """
    graph = program.graph
    lines = [
        "/* One golden vector: inputs, and the outputs that every runtime gives for them. */",
        "#ifndef QDEPLOY_GOLDEN_H",
        "#define QDEPLOY_GOLDEN_H",
        "",
        "#include <stdint.h>",
        "",
    ]
    if graph.timed:
        steps = next(
            vectors[f"{CASE}/input/{spec.name}"].shape[spec.shape.index("time")]
            for spec in graph.manifest.inputs
            if "time" in spec.shape
        )
        lines += [f"#define GOLDEN_STEPS {steps}", ""]
    specs: list[tuple[str, InputSpec | OutputSpec]] = [("input", spec) for spec in graph.manifest.inputs]
    specs += [("output", spec) for spec in graph.manifest.outputs if spec.name in graph.outputs]
    for kind, spec in specs:
        values = _first_sample(vectors[f"{CASE}/{kind}/{spec.name}"], spec, whole=graph.whole_sequences)
        lines.append(f"static const {c_type(values.dtype)} golden_{program.parameters[spec.name]}[{values.size}] = {{")
        lines += [*_numbers(values.tolist()), "};", ""]
    return "\n".join([*lines, "#endif", ""]).encode()


def example(program: Program) -> bytes:
    """``example.c``: runs the golden vector and says whether the outputs are its own."""
    body = [f"    {line}" for line in _calls(program)]
    lines = [
        "/* Runs one golden vector: cc -O3 example.c model.c -o example && ./example */",
        "#include <stdio.h>",
        "#include <string.h>",
        "",
        '#include "golden.h"',
        '#include "model.h"',
        "",
        "int main(void)",
        "{",
        *body,
        '    puts(differs ? "other outputs than the golden vector\'s" : "the golden vector\'s outputs");',
        "    return differs;",
        "}",
        "",
    ]
    return "\n".join(lines).encode()


def sketch(program: Program) -> bytes:
    """The same as an Arduino sketch, which says it on the serial port."""
    body = [f"    {line}" for line in _calls(program)]
    lines = [
        "// Runs one golden vector and says on the serial port whether the outputs are its own.",
        "#include <model.h>",
        "",
        '#include "golden.h"',
        "",
        "void setup()",
        "{",
        "    Serial.begin(115200);",
        *body,
        '    Serial.println(differs ? "other outputs than the golden vector\'s" : "the golden vector\'s outputs");',
        "}",
        "",
        "void loop()",
        "{",
        "}",
        "",
    ]
    return "\n".join(lines).encode()


def _calls(program: Program) -> list[str]:
    graph, names = program.graph, program.parameters
    outputs = [names[name] for name in graph.outputs]
    lines = ["static model_state state;"]
    for name in graph.outputs:
        golden = f"golden_{names[name]}"
        kind = c_type(graph.tensors[name].dtype)
        lines.append(f"static {kind} {names[name]}[sizeof {golden} / sizeof {golden}[0]];")
    arguments = ["&state", *(f"golden_{names[name]}" for name in graph.inputs)]
    arguments += [*(["GOLDEN_STEPS"] if graph.timed else []), *outputs]
    compared = " || ".join(f"memcmp({name}, golden_{name}, sizeof {name}) != 0" for name in outputs)
    return [
        *lines,
        "model_init(&state);",
        f"model_run({', '.join(arguments)});",
        f"int differs = {compared};",
    ]


def _first_sample(array: NDArray[Any], spec: InputSpec | OutputSpec, *, whole: bool) -> NDArray[Any]:
    """Flat, in the order in which C takes it: steps first, but where a network takes whole sequences as they lie."""
    shape = list(spec.shape)
    if "batch" in shape:
        array = np.take(array, 0, shape.index("batch"))
        shape.remove("batch")
    if "time" in shape and not whole:
        array = np.moveaxis(array, shape.index("time"), 0)
    return np.ascontiguousarray(array).reshape(-1)


def _numbers(values: Iterable[int]) -> list[str]:
    lines, line = [], ""
    for value in values:
        # The lowest int32 has no literal of its own.
        text = f"{value}," if value > -(2**31) else f"({value + 1} - 1),"
        if line and len(line) + len(text) + 1 > _LINE:
            lines.append(f"    {line}")
            line = ""
        line = f"{line} {text}" if line else text
    return [*lines, f"    {line}"]
