"""Which layers run when: the functions behind model_step and model_run.

A network that can be cut advances step by step, and what follows from the last step alone runs behind it; one that takes
whole sequences, or knows no steps, runs all its layers once, each over everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdeploy.export.c.generator import Program, copy, mentions
from qdeploy.export.c.memory import c_type

__all__ = ["declaration", "parameters", "schedule"]


@dataclass(frozen=True)
class Phase:
    """Statements that run together.

    Attributes:
        name: of their function.
        remark: when it runs.
        lines: the statements.
        tensors: graph inputs and outputs that they speak of, in order.
        steps: whether they speak of the number of steps.
    """

    name: str
    remark: str
    lines: list[str]
    tensors: list[str]
    steps: bool

    def text(self, program: Program) -> str:
        """The function."""
        head = f"static {declaration(self.name, parameters(program, self.tensors, steps=self.steps))}"
        unused = [] if any(mentions(line, "state") for line in self.lines) else ["(void)state;"]
        return "\n".join(
            [f"/* {self.remark} */", head, "{", *(f"    {line}" for line in [*unused, *self.lines]), "}", ""]
        )

    def call(self, program: Program, step: str = "") -> str:
        """The statement that calls it, with tensors that have steps moved on by ``step`` steps."""
        arguments = ["state"]
        graph = program.graph
        for place, tensor in enumerate(self.tensors):
            if self.steps and place == _inputs_of(program, self.tensors):
                arguments.append("steps")
            name, size = program.parameters[tensor], graph.tensors[tensor].entries
            moved = bool(step) and graph.tensors[tensor].time_axis is not None
            arguments.append(f"{name} + {step if size == 1 else f'{step} * {size}'}" if moved else name)
        if self.steps and _inputs_of(program, self.tensors) == len(self.tensors):
            arguments.append("steps")
        return f"{self.name}({', '.join(arguments)});"


def declaration(name: str, parameters: list[str], *, result: str = "void") -> str:
    """The head of a function whose first parameter is the state."""
    return f"{result} {name}({', '.join(['model_state *state', *parameters])})"


def parameters(program: Program, tensors: list[str] | None = None, *, steps: bool = False) -> list[str]:
    """Declarations: inputs, then ``steps`` where asked for, then outputs; of all graph inputs and outputs, or of these."""
    graph = program.graph

    def declared(names: tuple[str, ...], qualifier: str) -> list[str]:
        return [
            f"{qualifier}{c_type(graph.tensors[name].dtype)} *{program.parameters[name]}"
            for name in names
            if tensors is None or name in tensors
        ]

    return [*declared(graph.inputs, "const "), *(["size_t steps"] if steps else []), *declared(graph.outputs, "")]


def schedule(program: Program) -> list[str]:
    """The functions of the phases, then model_step and model_run."""
    if not program.graph.timed or program.graph.whole_sequences:
        return _all_at_once(program)
    advance = _phase(program, "advance", "Every step.", advancing=True)
    finish = _phase(program, "finish", "Behind the last step.", advancing=False)
    phases = [phase for phase in (advance, finish) if phase.lines]
    everything = parameters(program)
    step = [declaration("model_step", everything), "{", *(f"    {phase.call(program)}" for phase in phases), "}", ""]
    run = [
        declaration("model_run", parameters(program, steps=True), result="int"),
        "{",
        "    if (steps == 0) {",
        "        return 1;",
        "    }",
        "    for (size_t t = 0; t < steps; t++) {",
        f"        {advance.call(program, 't')}",
        "    }",
        *([f"    {finish.call(program, '(steps - 1)')}"] if finish.lines else []),
        "    return 0;",
        "}",
        "",
    ]
    return [*(phase.text(program) for phase in phases), "\n".join(step), "\n".join(run)]


def _all_at_once(program: Program) -> list[str]:
    whole = program.graph.whole_sequences
    phase = _phase(program, "run", "All layers.", advancing=True)
    head = declaration("model_run", parameters(program, steps=whole), result="int" if whole else "void")
    guard = ["    if (steps == 0 || steps > MODEL_MAX_STEPS) {", "        return 1;", "    }"] if whole else []
    run = [head, "{", *guard, f"    {phase.call(program)}", *(["    return 0;"] if whole else []), "}", ""]
    return [phase.text(program), "\n".join(run)]


def _phase(program: Program, name: str, remark: str, *, advancing: bool) -> Phase:
    graph = program.graph
    stepwise = graph.timed and not graph.whole_sequences
    lines = program.calls(advancing=advancing)
    for tensor in graph.outputs:
        if not stepwise or (graph.tensors[tensor].time_axis is not None) == advancing:
            lines += _copied(program, tensor, program.parameters[tensor])
    if advancing:
        for spec in graph.states:
            lines += _copied(program, spec.output, f"state->{program.members[spec.input]}")

    def spoken_of(word: str) -> bool:
        return any(mentions(line, word) for line in lines)

    tensors = [tensor for tensor in (*graph.inputs, *graph.outputs) if spoken_of(program.parameters[tensor])]
    return Phase(name, remark, lines, tensors, graph.whole_sequences and spoken_of("steps"))


def _copied(program: Program, tensor: str, target: str) -> list[str]:
    source = program.place(tensor).expression
    if source == target:
        return []
    found = program.graph.tensors[tensor]
    several = program.graph.whole_sequences and found.time_axis is not None
    return [copy(target, source, f"steps * {found.entries}" if several else found.entries)]


def _inputs_of(program: Program, tensors: list[str]) -> int:
    return sum(tensor in program.graph.inputs for tensor in tensors)
