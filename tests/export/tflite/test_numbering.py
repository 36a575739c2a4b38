"""Numbers of tensors: subgraphs that compute alike share operators; what nobody reads is left out."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.export.tflite.numbering import Numbered, numbered
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.export.tflite.writer import ModelWriter, Subgraph, Value
from qdeploy.runtime.litert_interpreter import interpreter_module


def recurrence(writer: ModelWriter, key: str, steps: int | None) -> Subgraph:
    """h = max(3 h + x, 0) over all steps, then h + 7, for any number of steps or one; 7 is also added inside."""
    number, graph = writer.subgraph(key)
    code = Code(graph)
    x, h = graph.input("x", np.int32, (steps, 2)), graph.input("h", np.int32, (1, 2))
    drive = code.add(code.reshape(x, (steps, 2)), 7)

    def step(inner: Code, now: Variables, place: Value) -> Variables:
        total = inner.add(inner.multiply(now["h"], 3), inner.gather(now["drive"], place))
        return {"h": inner.maximum(total, [0])}

    last = run_steps(code, "layer", drive, {"drive": drive, "h": h}, step)
    y = code.add(last["h"], 7)
    graph.output(y)
    writer.signature(key, number, {"x": x, "h": h}, {"y": y})
    return graph


def written(layout: Numbered) -> list[tuple[str, list[int], list[int]]]:
    """The operators as they stand in the file."""
    return [(o.kind, layout.all(o.inputs), layout.all(o.outputs)) for o in layout.operators]


def test_a_single_step_is_made_of_the_operators_around_and_inside_the_loop() -> None:
    writer = ModelWriter("test")
    for key, steps in (("whole", None), ("step", 1)):
        recurrence(writer, key, steps)
    whole, condition, body, step = numbered(writer.subgraphs)
    assert [kind for kind, _, _ in written(step)] == ["ADD", "MUL", "GATHER", "ADD", "MAXIMUM", "ADD"]
    elsewhere = [*written(whole), *written(body)]
    assert all(operator in elsewhere for operator in written(step))
    assert len(condition.tensors) == 5


def test_every_number_of_a_subgraph_is_one_tensor() -> None:
    writer = ModelWriter("test")
    graphs = [recurrence(writer, key, steps) for key, steps in (("whole", None), ("step", 1))]
    assert len(graphs) == 2
    for graph, layout in zip(writer.subgraphs, numbered(writer.subgraphs), strict=True):
        named = [index for index in layout.tensors if index is not None]
        assert sorted(named) == sorted(set(named))
        assert all(layout.tensors[number] == index for index, number in layout.numbers.items())
        read = {index for operator in layout.operators for index in (*operator.inputs, *operator.outputs)}
        assert read | {*graph.inputs, *graph.outputs} == set(named)


def test_what_nobody_reads_is_left_out_and_what_is_there_is_not_computed_again() -> None:
    writer = ModelWriter("test")
    _, graph = writer.subgraph("main")
    code = Code(graph)
    x = graph.input("x", np.int32, (1, 4))
    code.multiply(x, 5)
    sums = [code.add(x, 3), code.add(x, 3)]
    assert sums[0] == sums[1]
    # A reshape of a reshape is one, and none where the first shape comes back.
    assert code.reshape(code.reshape(sums[0], (2, 2)), (1, 4)) == sums[0]
    graph.output(code.reshape(code.reshape(sums[0], (2, 2)), (4,)))
    (layout,) = numbered(writer.subgraphs)
    assert [operator.kind for operator in layout.operators] == ["ADD", "RESHAPE"]


def test_what_a_step_computes_in_its_own_way_is_the_loops_tensor_all_the_same() -> None:
    writer = ModelWriter("test")
    for key, steps in (("whole", None), ("step", 1)):
        number, graph = writer.subgraph(key)
        code = Code(graph)
        x, h = graph.input("x", np.int32, (steps, 2)), graph.input("h", np.int32, (1, 2))
        tables = LookUps(code, x, {"sigma": Table(np.array([0, 8, 100], np.int16), 8)})

        def step(inner: Code, now: Variables, place: Value, tables: LookUps = tables) -> Variables:
            index = inner.add(now["h"], inner.gather(now["drive"], place))
            return {"h": inner.multiply(tables.entries(inner, now, "sigma", index), 3)}

        last = run_steps(code, "layer", x, {"drive": x, "h": h, **tables.start}, step)
        graph.output(code.add(last["h"], 7))
        writer.signature(key, number, {"x": x, "h": h}, {"y": code.add(last["h"], 7)})
    whole, _, body, step_layout = numbered(writer.subgraphs)
    elsewhere = [*written(whole), *written(body)]
    # The lines are the step's own; the product with what they give, and the sum behind the loop, are not.
    assert [operator in elsewhere for operator in written(step_layout)[-2:]] == [True, True]
    assert sum(operator not in elsewhere for operator in written(step_layout)) == len(written(step_layout)) - 5


@pytest.mark.litert
def test_runtimes_compute_what_the_subgraphs_say() -> None:
    writer = ModelWriter("test")
    for key, steps in (("whole", None), ("step", 1)):
        recurrence(writer, key, steps)
    interpreter = interpreter_module().Interpreter(model_content=writer.to_bytes())
    whole, step = (interpreter.get_signature_runner(key) for key in ("whole", "step"))
    x, h = np.array([[1, -2], [-30, 5], [2, 2]], np.int32), np.array([[1, -4]], np.int32)
    state = h.astype(np.int64)
    for row in x:
        state = np.maximum(3 * state + row + 7, 0)
    assert (whole(x=x, h=h)["y"] == state + 7).all()
    for row in x:
        h = np.array(step(x=row[None], h=h)["y"]) - 7
    assert (h == state).all()
