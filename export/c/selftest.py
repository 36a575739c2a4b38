"""selftest.c: a program for a board with a C library and nothing else, which checks golden vectors and times a step.

It is built of two files, ``cc -O3 -std=c99 selftest.c model.c -o selftest``, and reads none when it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.c.constants import array_values
from qdeploy.export.c.generator import Program
from qdeploy.export.c.memory import c_type
from qdeploy.runtime.bundle import Vector
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import Shape

__all__ = ["SELFTEST", "selftest_c"]

SELFTEST = "selftest.c"

Array = NDArray[Any]

_HEAD = """/* Golden vectors of this model, and how long it takes; made by qdeploy {version}.

   cc -O3 -std=c99 selftest.c model.c -o selftest
   ./selftest            (--no-time: the vectors alone)

   A line for every sample: PASS, or FAIL with the first entry that differs. Exit code 0: all of them passed. */
#include "model.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static model_state state;
static unsigned long compared;
"""

_SAME = """
/* Whether two arrays are the same; prints the first entry that is not. */
static int same_{kind}(const char *sample, const char *tensor, const {kind} *found, const {kind} *expected, size_t count)
{{
    compared += (unsigned long)count;
    for (size_t n = 0; n < count; n++) {{
        if (found[n] != expected[n]) {{
            printf("FAIL %s: %s[%lu]: found %ld, expected %ld\\n", sample, tensor, (unsigned long)n, (long)found[n],
                   (long)expected[n]);
            return 0;
        }}
    }}
    return 1;
}}
"""

_TIME = """
/* Processor time of a unit in nanoseconds: the fastest of five rounds of a twentieth of a second or more. */
static double nanoseconds(void)
{{
    double best = 0.0;
    unsigned long calls = 1;
    for (int round = 0; round < 5;) {{
        clock_t start = clock();
        for (unsigned long call = 0; call < calls; call++) {{
            {call};
        }}
        double seconds = (double)(clock() - start) / (double)CLOCKS_PER_SEC;
        if (seconds < 0.05) {{
            calls *= 2;
            continue;
        }}
        double one = seconds * 1e9 / (double)calls / {units}.0;
        if (round == 0 || one < best) {{
            best = one;
        }}
        round++;
    }}
    return best;
}}
"""

_MAIN = """
int main(int argc, char **argv)
{{
    int samples = 0;
    int passed = 0;
    printf("MODEL %s qdeploy %s\\n", MODEL_ONNX_SHA256, MODEL_QDEPLOY_VERSION);
{calls}
    printf("%s %d of %d samples, %lu integers\\n", passed == samples ? "PASSED" : "FAILED", passed, samples, compared);
    if (passed == samples && (argc < 2 || strcmp(argv[1], "--no-time") != 0)) {{
        printf("TIME %.1f ns a {unit}\\n", nanoseconds());
    }}
    return passed != samples;
}}
"""


@dataclass(frozen=True)
class _Sample:
    """One sample of a golden vector: arrays in the layout of C, by the tensors' names.

    ``states`` are the initial ones by their graph inputs' names; ``outputs`` those that the vector has, states' among them.
    """

    label: str
    steps: int | None
    inputs: Mapping[str, Array]
    states: Mapping[str, Array]
    outputs: Mapping[str, Array]


def selftest_c(program: Program, vectors: Mapping[str, Vector]) -> bytes:
    """The text of ``selftest.c``.

    Args:
        program: of the model; its ``model.c`` is what the test is linked with.
        vectors: golden vectors by case. Of a network that takes whole sequences, those that are not too long.

    Raises:
        InvalidInputError: there is no vector that the program can compute.
    """
    samples = [sample for vector in vectors.values() for sample in _samples(program, vector)]
    if not samples:
        raise InvalidInputError("the bundle has no golden vectors that its C could compute; export it again")
    parts = [_HEAD.format(version=program.graph.manifest.qdeploy)]
    types = {c_type(array.dtype): None for sample in samples for array in sample.outputs.values()}
    parts += [_SAME.format(kind=kind) for kind in types]
    parts.append(_borders(program, samples))
    parts += [_function(program, number, sample) for number, sample in enumerate(samples)]
    parts.append(_TIME.format(call=_call(program, 0, samples[0]), units=samples[0].steps or 1))
    calls = "\n".join(
        line
        for number, sample in enumerate(samples)
        for line in (
            "    samples++;",
            f"    if (sample_{number}()) {{",
            f'        printf("PASS {sample.label}\\n");',
            "        passed++;",
            "    }",
        )
    )
    parts.append(_MAIN.format(calls=calls, unit="step" if program.graph.timed else "sample"))
    return "".join(parts).encode()


def _samples(program: Program, vector: Vector) -> Iterator[_Sample]:
    graph, manifest = program.graph, program.graph.manifest
    batch = steps = None
    for spec in manifest.inputs:
        shape = vector.inputs[spec.name].shape
        batch = shape[spec.batch_axis] if spec.batch_axis is not None else batch
        steps = shape[spec.time_axis] if spec.time_axis is not None else steps
    if graph.whole_sequences and steps is not None and steps > program.max_steps:
        return
    for sample in range(batch or 1):

        def one(array: Array, shape: Shape, sample: int = sample) -> Array:
            return _one(array, shape, sample, whole=graph.whole_sequences)

        states, outputs = {}, {}
        for state in manifest.states:
            given = vector.inputs.get(state.input)
            zero = np.full(graph.tensors[state.input].entries, state.zero_point, state.dtype)
            states[state.input] = zero if given is None else one(given, state.shape)
            if state.output in vector.outputs:
                outputs[state.output] = one(vector.outputs[state.output], state.shape)
        for output in manifest.outputs:
            if output.name in vector.outputs and output.name in graph.outputs:
                outputs[output.name] = one(vector.outputs[output.name], output.shape)
        # Names come from the bundle; they stand in C between quotes and in comments.
        label = re.sub(r"[^A-Za-z0-9_.-]", "_", vector.name) + f", sample {sample}"
        label += f", {steps} steps" if steps is not None else ""
        inputs = {spec.name: one(vector.inputs[spec.name], spec.shape) for spec in manifest.inputs}
        yield _Sample(label, steps, inputs, states, outputs)


def _one(array: Array, shape: Shape, sample: int, *, whole: bool) -> Array:
    """One sample of an array whose axes the manifest names, as C takes it: steps first, whole sequences as they lie."""
    axes = list(shape)
    if "batch" in axes:
        array = np.take(array, sample, axes.index("batch"))
        axes.remove("batch")
    return np.ascontiguousarray(np.moveaxis(array, axes.index("time"), 0) if "time" in axes and not whole else array)


def _borders(program: Program, samples: list[_Sample]) -> str:
    """Memory for what the model gives back, for the longest sample."""
    graph = program.graph
    lines = [""]
    for name in graph.outputs:
        tensor = graph.tensors[name]
        steps = max(sample.steps or 1 for sample in samples) if tensor.time_axis is not None else 1
        lines.append(f"static {c_type(tensor.dtype)} {_found(program, name)}[{tensor.entries * steps}];")
    for spec in graph.states:
        tensor = graph.tensors[spec.input]
        lines.append(f"static {c_type(tensor.dtype)} {_found(program, spec.output)}[{tensor.entries}];")
    if graph.states:
        lines.append("static unsigned char states[MODEL_STATES_SIZE];")
    return "\n".join([*lines, ""])


def _function(program: Program, number: int, sample: _Sample) -> str:
    """A function that computes one sample, in one call and, where that is possible, step by step."""
    graph = program.graph
    lines = [f"\n/* {sample.label} */"]
    lines += [_array(_given(program, name, number), array) for name, array in sample.inputs.items()]
    lines += [_array(f"before_{program.members[name]}_{number}", array) for name, array in sample.states.items()]
    lines += [_array(_expected(program, name, number), array) for name, array in sample.outputs.items()]
    lines += [f"static int sample_{number}(void)", "{", "    int same = 1;"]
    ways = {sample.label: [f"{_call(program, number, sample)};"]}
    if sample.steps is not None and not graph.whole_sequences:
        ways[f"{sample.label}, step by step"] = _step_by_step(program, number, sample)
    for label, statements in ways.items():
        inner = [*_load(program, number), *statements, *_compare(program, number, sample, label)]
        lines += [f"    {line}" for line in inner]
    return "\n".join([*lines, "    return same;", "}", ""])


def _given(program: Program, name: str, number: int) -> str:
    """The array of a graph input."""
    return f"given_{program.parameters[name]}_{number}"


def _expected(program: Program, name: str, number: int) -> str:
    """The array of what an output or a last state should be."""
    return f"expected_{_identifier(program, name)}_{number}"


def _found(program: Program, name: str) -> str:
    """Where an output or a last state is put."""
    return f"found_{_identifier(program, name)}"


def _identifier(program: Program, name: str) -> str:
    if name in program.graph.outputs:
        return program.parameters[name]
    return next(f"state_{program.members[s.input]}" for s in program.graph.states if s.output == name)


def _load(program: Program, number: int) -> list[str]:
    lines = ["model_init(&state);"]
    place = 0
    for spec in program.graph.states:
        size = program.graph.tensors[spec.input].bytes
        lines.append(f"memcpy(states + {place}, before_{program.members[spec.input]}_{number}, {size});")
        place += size
    return [*lines, "model_load_states(&state, states);"] if program.graph.states else lines


def _call(program: Program, number: int, sample: _Sample) -> str:
    """The whole sample in one call. It fails for no number of steps that stands here."""
    graph = program.graph
    inputs = [_given(program, name, number) for name in graph.inputs]
    steps = [str(sample.steps)] if graph.timed else []
    outputs = [_found(program, name) for name in graph.outputs]
    return f"{'(void)' if graph.timed else ''}model_run({', '.join(['&state', *inputs, *steps, *outputs])})"


def _step_by_step(program: Program, number: int, sample: _Sample) -> list[str]:
    graph = program.graph
    arrays = [(name, _given(program, name, number)) for name in graph.inputs]
    arrays += [(name, _found(program, name)) for name in graph.outputs]
    arguments = ["&state"]
    for name, array in arrays:
        tensor = graph.tensors[name]
        arguments.append(f"{array} + t * {tensor.entries}" if tensor.time_axis is not None else array)
    return [f"for (size_t t = 0; t < {sample.steps}; t++) {{", f"    model_step({', '.join(arguments)});", "}"]


def _compare(program: Program, number: int, sample: _Sample, label: str) -> list[str]:
    lines = ["model_save_states(&state, states);"] if program.graph.states else []
    place = 0
    for spec in program.graph.states:
        size = program.graph.tensors[spec.input].bytes
        lines.append(f"memcpy({_found(program, spec.output)}, states + {place}, {size});")
        place += size
    for name, array in sample.outputs.items():
        found, expected = _found(program, name), _expected(program, name, number)
        what = _identifier(program, name)
        lines.append(f'same &= same_{c_type(array.dtype)}("{label}", "{what}", {found}, {expected}, {array.size});')
    return lines


def _array(name: str, array: Array) -> str:
    values = "\n".join(array_values(array.reshape(-1)))
    return f"static const {c_type(array.dtype)} {name}[{array.size}] = {{\n{values}\n}};"
