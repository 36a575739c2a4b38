"""model.h and model.c of an integer model: places for tensors, a function for each layer, and the calls between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from qdeploy.export.c.channels_last import channels_last
from qdeploy.export.c.checked_texts import check_texts
from qdeploy.export.c.constants import ConstantArray, Constants
from qdeploy.export.c.emitter import emitter
from qdeploy.export.c.memory import Place, Slot, SlotRequest, assign_slots, field_of
from qdeploy.export.c.names import Names, identifier
from qdeploy.export.c.pooled_rows import pooled_rows
from qdeploy.export.c.site import Site
from qdeploy.export.c.targets import Target
from qdeploy.export.sample_graph import Graph, Layer, initial_states, read_graph
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.manifest import Manifest
from qdeploy.runtime.ops import RECURRENT

__all__ = ["GeneratedLayer", "Program", "copy", "generate_program", "mentions"]

STATE = "state"

MOST_STEPS = 2**24
"""Of a sequence that is taken whole: its arena shall have a size that fits 32 bits."""

_STEPS_WITHOUT_LOOPS = 128
"""The longest sequence of a network that takes whole ones without a recurrent layer, such as a mean over time."""


@dataclass
class GeneratedLayer:
    """A layer's function.

    Attributes:
        layer: of the graph.
        site: what its emitter wrote and asked for.
        function: the function's name.
        advances: whether it runs at every step, not only after the last.
    """

    layer: Layer
    site: Site
    function: str
    advances: bool

    @property
    def needs_steps(self) -> bool:
        """Whether its text speaks of the number of steps."""
        return any(mentions(line, "steps") for line in self.site.lines)

    def scratch_key(self, name: str) -> str:
        """Of a scratch memory among the slots' requests."""
        return f"{self.function}:{name}"


@dataclass
class Program:
    """All that the two files say, before it is text.

    Attributes:
        graph: the model, read.
        target: whose layout weights have.
        layers: with the functions that compute them.
        constants: arrays of weights, biases and tables.
        kernels: names of the kernels that are called.
        slots: the arena.
        parameters: C names of graph inputs and outputs, by tensor.
        members: C names of recurrent states, by the graph input's name.
        places: by root tensor, where it lies.
        max_steps: the longest sequence of a network that takes whole ones; else 1.
    """

    graph: Graph
    target: Target
    max_steps: int
    layers: list[GeneratedLayer] = field(default_factory=list)
    constants: Constants = field(default_factory=Constants)
    kernels: set[str] = field(default_factory=set)
    slots: list[Slot] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    _slot_of: dict[str, Slot] = field(default_factory=dict)

    @property
    def arrays(self) -> list[ConstantArray]:
        """What lies in flash besides code."""
        return self.constants.arrays

    def place(self, tensor: str) -> Place:
        """Where a tensor lies; a constant gets an array."""
        root = self.graph.root(tensor)
        if root in self.graph.constants and root not in self.places:
            values = self.graph.constants[root]
            self.places[root] = Place(self.constants.array(identifier(root), values, root), slack=False)
        return self.places[root]

    def calls(self, *, advancing: bool) -> list[str]:
        """The statements of one phase: those of every step, or those behind the last."""
        lines: list[str] = []
        for made in self.layers:
            if made.advances == advancing:
                lines += self._before(made)
                arguments = [self._argument(made, place) for place in range(len(made.site.parameters))]
                if made.needs_steps:
                    arguments.append("steps")
                lines.append(f"{made.function}({', '.join(arguments)});")
        return lines

    def _argument(self, made: GeneratedLayer, place: int) -> str:
        parameter = made.site.parameters[place]
        if parameter.scratch is None:
            return self.place(parameter.tensor).expression
        slot = self._slot_of[made.scratch_key(parameter.scratch.name)]
        return f"state->{slot.name}.{field_of(parameter.scratch.dtype)}"

    def _before(self, made: GeneratedLayer) -> list[str]:
        """A state that does not lie where the layer's own lies is copied there first."""
        if made.layer.operator not in RECURRENT:
            return []
        lines = []
        for state in initial_states(made.layer):
            result = made.layer.outputs[f"y_{state.removesuffix('0')}"]
            source, target = self.place(made.layer.inputs[state]), self.place(result)
            if source.expression != target.expression:
                lines.append(copy(target.expression, source.expression, self.graph.tensors[result].entries))
        return lines


def copy(target: str, source: str, count: int | str) -> str:
    """The statement that copies ``count`` entries of the target's type."""
    return f"memcpy({target}, {source}, {count} * sizeof *{target});"


def mentions(line: str, word: str) -> bool:
    """Whether a line of C has this identifier."""
    padded = "".join(c if c.isalnum() or c == "_" else " " for c in line)
    return word in padded.split()


def generate_program(
    model: onnx.ModelProto, manifest: Manifest, target: Target, max_steps: int | None = None
) -> Program:
    """Plans memory and writes every layer's function.

    Raises:
        UnsupportedModelError: an operator, or a use of it, has no form in C.
        InvalidFileError: a name that could be more than a name in C.
    """
    check_texts(model, manifest)
    graph = pooled_rows(channels_last(read_graph(model, manifest)))
    program = Program(graph, target, (max_steps or _longest_sequence(manifest)) if graph.whole_sequences else 1)
    _name_borders(program)
    phases = _phases(graph)
    _place_borders(program, phases)
    slack = {root: place.slack for root, place in program.places.items()}
    slack |= {
        graph.root(n): True
        for n in graph.tensors
        if graph.root(n) not in slack and graph.root(n) not in graph.constants
    }
    functions = Names()
    for layer, advances in zip(graph.layers, phases, strict=True):
        site = Site(layer, graph, target, program.constants, slack, program.kernels)
        emitter(layer.operator, layer.name)(site)
        program.layers.append(GeneratedLayer(layer, site, functions.new(f"layer_{site.name}"), advances))
    words = {word for made in program.layers for line in made.site.lines for word in re.findall(r"\w+", line)}
    # A product that always takes four windows at a time asked for the kernel of one in vain.
    program.kernels &= words
    _fill_slots(program)
    return program


def _longest_sequence(manifest: Manifest) -> int:
    """What the export was asked for; else the steps that the layers were calibrated over, a guess where none has a loop."""
    said = manifest.extra.get("c")
    asked = said.get("max_steps") if isinstance(said, Mapping) else None
    if asked is not None:
        if not isinstance(asked, int) or isinstance(asked, bool) or not 0 < asked <= MOST_STEPS:
            raise InvalidFileError(
                f"manifest.json: c.max_steps: found {asked!r}, expected 1 to {MOST_STEPS}; export again"
            )
        return asked
    known = [int(layer.extra["calibrated_steps"]) for layer in manifest.layers if layer.extra.get("calibrated_steps")]
    return max(known, default=_STEPS_WITHOUT_LOOPS)


def _name_borders(program: Program) -> None:
    names = Names()
    for tensor in (*program.graph.inputs, *program.graph.outputs):
        if tensor not in program.parameters:
            program.parameters[tensor] = names.new(tensor)
    members = Names()
    for spec in program.graph.states:
        program.members[spec.input] = members.new(spec.input)


def _phases(graph: Graph) -> list[bool]:
    """By layer, whether it runs at every step: it has steps, holds a state, or something that does reads it."""
    if graph.whole_sequences or not graph.timed:
        return [True] * len(graph.layers)
    needed: set[str] = {graph.root(spec.output) for spec in graph.states}
    found: list[bool] = []
    for layer in reversed(graph.layers):
        outputs = [name for name in layer.outputs.values() if name]
        timed = any(name in graph.tensors and graph.tensors[name].time_axis is not None for name in outputs)
        advances = timed or layer.operator in RECURRENT or any(graph.root(name) in needed for name in outputs)
        if advances:
            needed |= {graph.root(name) for name in layer.inputs.values() if name}
        found.append(advances)
    return found[::-1]


def _place_borders(program: Program, phases: list[bool]) -> None:
    """Inputs, outputs and states get the caller's memory and the state's members."""
    graph, places = program.graph, program.places
    for name in graph.inputs:
        places[name] = Place(program.parameters[name], slack=False)
    for spec in graph.states:
        places[spec.input] = Place(f"{STATE}->{program.members[spec.input]}", slack=True)
    producers = {name: index for index, layer in enumerate(graph.layers) for name in layer.outputs.values() if name}
    for spec in graph.states:
        root = graph.root(spec.output)
        layer = graph.layers[producers[root]] if root in producers else None
        if layer is not None and layer.operator in RECURRENT and root not in places:
            state = next((s for s in initial_states(layer) if layer.outputs[f"y_{s.removesuffix('0')}"] == root), None)
            # The layer's own state lies in the state's member: no copy.
            if (
                state is not None
                and graph.root(layer.inputs[state]) == spec.input
                and _last_reader(graph, spec.input, layer)
            ):
                places[root] = places[spec.input]
    for name in graph.outputs:
        root = graph.root(name)
        if root in places or root not in producers or root in graph.constants:
            continue
        timed = graph.tensors[name].time_axis is not None
        if phases[producers[root]] == (timed or graph.whole_sequences or not graph.timed):
            places[root] = Place(program.parameters[name], slack=False)


def _last_reader(graph: Graph, root: str, layer: Layer) -> bool:
    """Whether no later layer reads the memory."""
    later = graph.layers[graph.layers.index(layer) + 1 :]
    return not any(graph.root(name) == root for other in later for name in other.inputs.values() if name)


def _fill_slots(program: Program) -> None:
    graph = program.graph
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    order = {id(made): index for index, made in enumerate(_in_order(program))}
    requests: list[SlotRequest] = []
    for made in program.layers:
        index = order[id(made)]
        # A recurrent layer's initial state is read by the copy before it, not by its function.
        read = {p.tensor for p in made.site.parameters if p.tensor} | {n for n in made.layer.inputs.values() if n}
        for name in {*read, *(n for n in made.layer.outputs.values() if n)}:
            root = graph.root(name)
            if root in graph.tensors and root not in program.places and root not in graph.constants:
                first[root] = min(first.get(root, index), index)
                last[root] = max(last.get(root, index), index)
        for parameter in made.site.parameters:
            if parameter.scratch is not None:
                scratch = parameter.scratch
                requests.append(
                    SlotRequest(made.scratch_key(scratch.name), scratch.dtype, scratch.entries, index, index)
                )
    for name in (*graph.outputs, *(spec.output for spec in graph.states)):
        if graph.root(name) in last:
            last[graph.root(name)] = len(program.layers)
    for root, begin in first.items():
        tensor = graph.tensors[root]
        steps = program.max_steps if tensor.time_axis is not None else 1
        requests.append(SlotRequest(root, tensor.dtype, tensor.entries * steps, begin, last[root]))
    program.slots, chosen = assign_slots(requests)
    program._slot_of = dict(chosen)  # noqa: SLF001
    for root in first:
        kind = field_of(graph.tensors[root].dtype)
        program.places[root] = Place(f"{STATE}->{chosen[root].name}.{kind}", slack=True)


def _in_order(program: Program) -> list[GeneratedLayer]:
    """As they run: every step's layers, then those behind the last step."""
    return [m for m in program.layers if m.advances] + [m for m in program.layers if not m.advances]
