"""model.h and model.c as text."""

from __future__ import annotations

import re

from qdeploy.export.c.generator import GeneratedLayer, Program
from qdeploy.export.c.kernels import kernel_text, needed, variants
from qdeploy.export.c.memory import SLACK, c_type
from qdeploy.export.c.schedule import declaration, parameters, schedule
from qdeploy.runtime.manifest import InputSpec, OutputSpec, StateSpec

__all__ = ["header", "source"]

_FUNCTIONS = {
    "init": "Zero states. Call it first, and again before another sequence.",
    "run": "{what}.",
    "step": "One time step; states go on from the last call.",
    "save": "Copies all states, MODEL_STATES_SIZE bytes, in the order in which they stand in model_state.",
    "load": "Takes states that model_save_states gave.",
    "size": "sizeof(model_state), for callers that do not see the type.",
}


def header(program: Program, *, sha256: str, version: str) -> str:
    """The text of model.h."""
    graph = program.graph
    manifest = graph.manifest
    lines = [
        f"/* Made by qdeploy {version} from an integer ONNX model; edit the model, not this file. */",
        "#ifndef QDEPLOY_MODEL_H",
        "#define QDEPLOY_MODEL_H",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f'#define MODEL_QDEPLOY_VERSION "{version}"',
        f'#define MODEL_ONNX_SHA256 "{sha256}"',
        "",
        "/* 1: only whole sequences are taken, of at most MODEL_MAX_STEPS steps. */",
        f"#define MODEL_WHOLE_SEQUENCES {int(graph.whole_sequences)}",
        f"#define MODEL_MAX_STEPS {program.max_steps}",
        "",
        "/* A real value is scale * (integer - zero point). Sizes are entries of one step, or of one sample without steps. */",
    ]
    for spec in manifest.inputs:
        lines += _border(program, spec)
    for output in manifest.outputs:
        if output.name in graph.outputs:
            lines += _border(program, output)
    lines += [
        "",
        "/* Bytes of all recurrent states together. */",
        f"#define MODEL_STATES_SIZE {sum(_state_bytes(program, spec) for spec in graph.states)}",
        "",
        "/* States, then the arena that layers share. It holds no pointers: it may be copied and kept. */",
        "typedef struct {",
        *[f"    {line}" for line in _members(program)],
        "} model_state;",
        "",
        *_declarations(program),
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def source(program: Program, *, version: str) -> str:
    """The text of model.c."""
    target = program.target
    banner = [
        f"/* Made by qdeploy {version} from an integer ONNX model; edit the model, not this file.",
        f"   Weights lie in tiles of {target.tile} rows by 4 columns: layout of the target {target.name}. */",
        '#include "model.h"',
        "",
        "#include <string.h>",
        "",
        "/* Rows of a tile of weights, and what is taken from 8-bit activations before they are multiplied. */",
        f"#define MODEL_TILE {target.tile}",
        f"#define MODEL_OFFSET {target.offset}",
        "",
        "#if defined(__GNUC__)",
        "#define MODEL_ALIGNED __attribute__((aligned(4 * MODEL_TILE)))",
        "#else",
        "#define MODEL_ALIGNED",
        "#endif",
        "",
    ]
    parts = ["\n".join(banner), *(_kernel(name, program) for name in needed(program.kernels))]
    # The schedule comes before the arrays in time: a constant that it copies gets an array too.
    functions = schedule(program)
    parts += [array.text for array in program.arrays]
    parts += [_function(made) for made in program.layers]
    parts += [*functions, _init(program), *_states(program)]
    return "\n".join(parts)


def _kernel(name: str, program: Program) -> str:
    """A kernel's text; where only other kernels call it, of which one path may not, so that no compiler complains."""
    text = kernel_text(name)
    head = re.search(r"^static [^{;]*\)(?=\n\{)", text, re.MULTILINE)
    if name in program.kernels or not variants(name) or head is None:
        return text
    return f"#if defined(__GNUC__)\n{head[0]} __attribute__((unused));\n#endif\n{text}"


def _border(program: Program, spec: InputSpec | OutputSpec) -> list[str]:
    name = program.parameters[spec.name]
    shape = ", ".join(str(d) for d in spec.shape if d != "batch")
    meaning = "indices" if spec.scale is None else f"scale {spec.scale:.9g}, zero point {spec.zero_point}"
    return [
        f"/* {spec.name}: {spec.dtype}[{shape}], {meaning} */",
        f"#define MODEL_{name.upper()}_SIZE {program.graph.tensors[spec.name].entries}",
    ]


def _state_bytes(program: Program, spec: StateSpec) -> int:
    return program.graph.tensors[spec.input].bytes


def _members(program: Program) -> list[str]:
    lines: list[str] = []
    for spec in program.graph.states:
        tensor = program.graph.tensors[spec.input]
        lines.append(f"/* {spec.input}: {spec.bits} bits, scale {spec.scale:.9g}, zero point {spec.zero_point} */")
        lines.append(f"{c_type(tensor.dtype)} {program.members[spec.input]}[{tensor.entries} + {SLACK}];")
    for slot in program.slots:
        kinds = {"uint8": "u8", "int8": "s8", "int16": "s16", "int32": "s32", "int64": "s64"}
        inner = " ".join(f"{kind}_t {kinds[kind]}[{count}];" for kind, count in sorted(slot.entries.items()))
        lines.append(f"union {{ {inner} }} {slot.name};")
    return lines or ["char nothing;"]


def _declarations(program: Program) -> list[str]:
    graph = program.graph
    lines = [f"/* {_FUNCTIONS['init']} */", "void model_init(model_state *state);", ""]
    if graph.timed and not graph.whole_sequences:
        lines += [f"/* {_FUNCTIONS['step']} */", f"{declaration('model_step', parameters(program))};", ""]
    if graph.timed:
        what = (
            "Steps lie one after the other in inputs and in outputs that have a time axis; other outputs are of the last step.\n"
            "   Goes on from the states that it finds. Returns 0; 1, and does nothing, where steps is 0"
        )
        what += " or more than MODEL_MAX_STEPS" if graph.whole_sequences else ""
        lines += [f"/* {what}. */", f"{declaration('model_run', parameters(program, steps=True), result='int')};", ""]
    else:
        lines += ["/* One sample. */", f"{declaration('model_run', parameters(program))};", ""]
    for what, head in (
        ("save", "void model_save_states(const model_state *state, void *bytes);"),
        ("load", "void model_load_states(model_state *state, const void *bytes);"),
        ("size", "size_t model_state_size(void);"),
    ):
        lines += [f"/* {_FUNCTIONS[what]} */", head, ""]
    return lines


def _function(made: GeneratedLayer) -> str:
    site = made.site
    declarations = [parameter.declaration for parameter in site.parameters]
    if made.needs_steps:
        declarations.append("size_t steps")
    what = f"{made.layer.name}: {made.layer.operator}." + (f"\n   {site.comment}" if site.comment else "")
    head = f"static void {made.function}({', '.join(declarations) or 'void'})"
    return "\n".join([f"/* {what} */", head, "{", *site.lines, "}", ""])


def _init(program: Program) -> str:
    lines = ["void model_init(model_state *state)", "{", "    memset(state, 0, sizeof *state);"]
    for spec in program.graph.states:
        if spec.zero_point:
            member, tensor = program.members[spec.input], program.graph.tensors[spec.input]
            lines += [
                f"    for (size_t n = 0; n < {tensor.entries}; n++) {{",
                f"        state->{member}[n] = {spec.zero_point};",
                "    }",
            ]
    return "\n".join([*lines, "}", ""])


def _states(program: Program) -> list[str]:
    save = ["void model_save_states(const model_state *state, void *bytes)", "{"]
    load = ["void model_load_states(model_state *state, const void *bytes)", "{"]
    if not program.graph.states:
        save += ["    (void)state;", "    (void)bytes;"]
        load += ["    (void)state;", "    (void)bytes;"]
    else:
        save.append("    unsigned char *to = bytes;")
        load.append("    const unsigned char *from = bytes;")
    place = 0
    for spec in program.graph.states:
        member, count = program.members[spec.input], _state_bytes(program, spec)
        save.append(f"    memcpy(to + {place}, state->{member}, {count});")
        load.append(f"    memcpy(state->{member}, from + {place}, {count});")
        place += count
    size = "size_t model_state_size(void)\n{\n    return sizeof(model_state);\n}\n"
    return ["\n".join([*save, "}", ""]), "\n".join([*load, "}", ""]), size]
