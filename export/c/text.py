"""model.h and model.c as text."""

from __future__ import annotations

from qdeploy.export.c.generator import GeneratedLayer, Program, copy, mentions
from qdeploy.export.c.kernels import kernel_text, needed
from qdeploy.export.c.memory import SLACK, c_type
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
        "#define MODEL_ALIGNED __attribute__((aligned(64)))",
        "#else",
        "#define MODEL_ALIGNED",
        "#endif",
        "",
    ]
    parts = ["\n".join(banner), *(kernel_text(name) for name in needed(program.kernels))]
    phases = [_phase(program, "advance", advancing=True), _phase(program, "finish", advancing=False)]
    entries = _entries(program)
    parts += [array.text for array in program.arrays]
    parts += [_function(made) for made in program.layers]
    parts += [text for text in phases if text]
    parts += entries
    return "\n".join(parts)


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


def _parameters(program: Program, *, timed_only: bool | None = None, size: bool = False) -> list[tuple[str, str]]:
    """Declarations and names: inputs, then ``steps``, then outputs."""
    graph = program.graph
    inputs = [
        (f"const {c_type(graph.tensors[n].dtype)} *{program.parameters[n]}", program.parameters[n])
        for n in graph.inputs
    ]
    outputs = [
        (f"{c_type(graph.tensors[n].dtype)} *{program.parameters[n]}", program.parameters[n])
        for n in graph.outputs
        if timed_only is None or (graph.tensors[n].time_axis is not None) == timed_only
    ]
    return [*inputs, *([("size_t steps", "steps")] if size else []), *outputs]


def _declaration(name: str, parameters: list[tuple[str, str]], *, result: str = "void") -> str:
    return f"{result} {name}({', '.join(['model_state *state', *(text for text, _ in parameters)])})"


def _declarations(program: Program) -> list[str]:
    graph = program.graph
    lines = [f"/* {_FUNCTIONS['init']} */", "void model_init(model_state *state);", ""]
    if graph.timed and not graph.whole_sequences:
        lines += [f"/* {_FUNCTIONS['step']} */", f"{_declaration('model_step', _parameters(program))};", ""]
    if graph.timed:
        what = (
            "Steps lie one after the other; outputs that have a time axis get one entry block a step, others what follows from "
            "the last step. Goes on from the states\n   that it finds. Returns 0; 1, and does nothing, where steps is 0"
        )
        what += " or more than MODEL_MAX_STEPS" if graph.whole_sequences else ""
        lines += [f"/* {what}. */", f"{_declaration('model_run', _parameters(program, size=True), result='int')};", ""]
    else:
        lines += ["/* One sample. */", f"{_declaration('model_run', _parameters(program))};", ""]
    for text, declaration in (
        ("save", "void model_save_states(const model_state *state, void *bytes);"),
        ("load", "void model_load_states(model_state *state, const void *bytes);"),
        ("size", "size_t model_state_size(void);"),
    ):
        lines += [f"/* {_FUNCTIONS[text]} */", declaration, ""]
    return lines


def _function(made: GeneratedLayer) -> str:
    site = made.site
    declarations = [parameter.declaration for parameter in site.parameters]
    if made.needs_steps:
        declarations.append("size_t steps")
    what = f"{made.layer.name}: {made.layer.operator}." + (f"\n   {site.comment}" if site.comment else "")
    head = f"static void {made.function}({', '.join(declarations) or 'void'})"
    return "\n".join([f"/* {what} */", head, "{", *site.lines, "}", ""])


def _phase(program: Program, name: str, *, advancing: bool) -> str:
    """The function of one phase; empty where nothing happens in it."""
    graph = program.graph
    everything = graph.whole_sequences or not graph.timed
    lines = program.calls(advancing=advancing)
    for tensor in graph.outputs:
        timed = everything or graph.tensors[tensor].time_axis is not None
        if timed == advancing:
            lines += _copied(program, tensor, program.parameters[tensor])
    if advancing:
        for spec in graph.states:
            lines += _copied(program, spec.output, f"state->{program.members[spec.input]}")
    if not lines:
        return ""
    parameters = _parameters(program, timed_only=None if everything else advancing, size=graph.whole_sequences)
    unused = [
        f"(void){name};" for _, name in [("", "state"), *parameters] if not any(mentions(line, name) for line in lines)
    ]
    body = [f"    {line}" for line in [*unused, *lines]]
    head = "static " + _declaration(name, parameters)
    return "\n".join(
        [
            f"/* {'Every step.' if advancing and not everything else 'All layers.' if advancing else 'Behind the last step.'} */",
            head,
            "{",
            *body,
            "}",
            "",
        ]
    )


def _copied(program: Program, tensor: str, target: str) -> list[str]:
    source = program.place(tensor).expression
    if source == target:
        return []
    found = program.graph.tensors[tensor]
    count = (
        f"steps * {found.entries}" if program.graph.whole_sequences and found.time_axis is not None else found.entries
    )
    return [copy(target, source, count)]


def _entries(program: Program) -> list[str]:
    graph = program.graph
    finishes = bool(_phase(program, "finish", advancing=False))
    parts = [_init(program)]
    if not graph.timed:
        arguments = ", ".join(["state", *(name for _, name in _parameters(program))])
        return [
            *parts,
            f"{_declaration('model_run', _parameters(program))}\n{{\n    advance({arguments});\n}}\n",
            *_states(program),
        ]
    if graph.whole_sequences:
        arguments = ", ".join(["state", *(name for _, name in _parameters(program, size=True))])
        run = [
            f"{_declaration('model_run', _parameters(program, size=True), result='int')}",
            "{",
            "    if (steps == 0 || steps > MODEL_MAX_STEPS) {",
            "        return 1;",
            "    }",
            f"    advance({arguments});",
            "    return 0;",
            "}",
            "",
        ]
        return [*parts, "\n".join(run), *_states(program)]
    advance = ", ".join(["state", *(name for _, name in _parameters(program, timed_only=True))])
    finish = ", ".join(["state", *(name for _, name in _parameters(program, timed_only=False))])
    step = [f"{_declaration('model_step', _parameters(program))}", "{", f"    advance({advance});"]
    step += [f"    finish({finish});"] if finishes else []
    moving = ["state"]
    for tensor in (*graph.inputs, *(n for n in graph.outputs if graph.tensors[n].time_axis is not None)):
        name, found = program.parameters[tensor], graph.tensors[tensor]
        moving.append(f"{name} + t * {found.entries}" if found.time_axis is not None else name)
    run = [
        f"{_declaration('model_run', _parameters(program, size=True), result='int')}",
        "{",
        "    if (steps == 0) {",
        "        return 1;",
        "    }",
        "    for (size_t t = 0; t < steps; t++) {",
        f"        advance({', '.join(moving)});",
        "    }",
    ]
    last = ["state"]
    for tensor in graph.inputs:
        name, found = program.parameters[tensor], graph.tensors[tensor]
        last.append(f"{name} + (steps - 1) * {found.entries}" if found.time_axis is not None else name)
    last += [program.parameters[n] for n in graph.outputs if graph.tensors[n].time_axis is None]
    run += [f"    finish({', '.join(last)});"] if finishes else []
    return [*parts, "\n".join([*step, "}", ""]), "\n".join([*run, "    return 0;", "}", ""]), *_states(program)]


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
