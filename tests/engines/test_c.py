"""The engine c: the same bits, nothing of a bundle runs unasked, and nothing is read or written beside its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from qdeploy import c_library as maker
from qdeploy.bundle import Bundle
from qdeploy.export.c import c_files
from qdeploy.export.c.build import build
from qdeploy.export.c.targets import host_twin
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.engines import DEFAULTS, ENGINES, open_engine
from qdeploy.runtime.errors import (
    ContractError,
    InvalidFileError,
    InvalidInputError,
    MissingRequirementError,
    UnsupportedModelError,
)
from qdeploy.runtime.session import Session

pytestmark = pytest.mark.cc
BUNDLES = Path(__file__).parent.parent / "golden" / "bundles"


def bundle(name):
    return read_bundle(BUNDLES / f"{name}.zip")


def with_c(files, *, trusted=False, **contents):
    """The bundle as if it had been exported with C; ``contents`` replace files (``model_c`` is model.c)."""
    sources = c_files(files.model, files.manifest, host_twin())
    given = {name.replace("_", "."): text for name, text in contents.items()}
    extra = {**files.manifest.extra, "c": {"sources": host_twin()}}
    return dataclasses.replace(
        files,
        manifest=dataclasses.replace(files.manifest, extra=extra),
        contents={**files.contents, **sources, **given},
        trusted=trusted,
    )


@pytest.fixture(scope="module")
def every_step():
    files = bundle("rnn-relu-every")
    return files, open_engine("c", files)


@pytest.mark.parametrize("name", ["mlp-weights4", "quaternion-adjacent", "rnn-relu-every", "rnn-modrelu-state12"])
def test_golden_vectors_come_out(name):
    files = bundle(name)
    engine = open_engine("c", files)
    for vector in files.vectors().values():
        found = engine.run(vector.inputs)
        assert found.keys() == vector.outputs.keys()
        for output, expected in vector.outputs.items():
            assert found[output].dtype == expected.dtype
            assert (found[output] == expected).all()


def test_it_is_never_a_default():
    assert "c" in ENGINES
    assert "c" not in DEFAULTS
    report = Bundle(bundle("mlp")).verify(runtimes=None, samples=1, case="golden")
    assert not any(voice.name.startswith("c") for voice in report.voices)
    assert [row.name for row in Bundle(bundle("mlp")).bench(calls=3).rows] == list(DEFAULTS)


def test_a_batch_is_its_samples(every_step):
    files, engine = every_step
    (vector, *_) = files.vectors().values()
    whole = engine.run(vector.inputs)
    specs = {s.name: s.shape for s in files.manifest.inputs} | {s.input: s.shape for s in files.manifest.states}
    for sample in range(2):
        alone = {n: np.take(a, [sample], specs[n].index("batch")) for n, a in vector.inputs.items()}
        shapes = {s.name: s.shape for s in files.manifest.outputs} | {s.output: s.shape for s in files.manifest.states}
        for name, found in engine.run(alone).items():
            assert (found == np.take(whole[name], [sample], shapes[name].index("batch"))).all()


def test_a_session_streams(every_step):
    files, _ = every_step
    (spec,) = files.manifest.inputs
    x = next(iter(files.vectors().values())).inputs[spec.name]
    whole = Session(files, runtime="c", raw=True)
    expected = whole.run(x)
    pieces = Session(files, runtime="c", raw=True)
    steps = x.shape[spec.time_axis]
    found = [pieces.step(np.take(x, step, spec.time_axis)) for step in range(steps)]
    for output in files.manifest.outputs:
        stacked = np.stack([step[output.name] for step in found], output.time_axis)
        assert (stacked == expected[output.name]).all()
    for name, state in whole.state.items():
        assert (pieces.state[name] == state).all()
    reference = Session(files, runtime="numpy", raw=True)
    reference.run(x)
    assert all((whole.state[name] == state).all() for name, state in reference.state.items())


def test_verify_compares_outputs_and_every_state(every_step):
    report = Bundle(every_step[0]).verify(runtimes=["c"], samples=2)
    assert report.passed
    assert [voice.name for voice in report.voices] == ["numpy, golden and in pieces", "c, compiled"]
    assert report.voices[1].compared_integers > report.voices[0].compared_integers > 0


def test_verify_finds_a_wrong_library(monkeypatch):
    """An activation offset that the biases know nothing of."""
    made = maker._sources

    def wrong(files, target):
        sources = made(files, target)
        text = sources["model.c"]
        assert b"#define MODEL_OFFSET 0\n" in text
        return {**sources, "model.c": text.replace(b"#define MODEL_OFFSET 0\n", b"#define MODEL_OFFSET 1\n")}

    monkeypatch.setattr(maker, "_sources", lambda files, target: wrong(files, "generic"))
    report = Bundle(bundle("rnn-relu-every")).verify(runtimes=["c"], samples=2, case="golden")
    assert not report.passed
    difference = report.difference
    assert difference.voice == "c, compiled"
    assert difference.operator == "RNN"
    assert difference.expected != difference.found
    assert "--runtime c" in difference.command


def test_a_wrong_state_between_calls_is_found(monkeypatch):
    """The last output is right, a state that is taken out between two steps is not."""
    files = bundle("rnn-relu-state8")
    engine = open_engine("c", files)
    state = files.manifest.states[0]
    calls = []

    class Forgetful:
        name, version = "c", "-"

        def run(self, feeds):
            results = engine.run(feeds)
            calls.append(1)
            return results if len(calls) != 5 else {**results, state.output: results[state.output] ^ 1}

    from qdeploy.boards.machine import HERE

    monkeypatch.setattr(type(HERE), "open", lambda self, runtime, model, **options: Forgetful())
    report = Bundle(files).verify(runtimes=["c"], samples=1, case="cut/steps")
    assert report.difference.tensor == state.output
    assert report.difference.step == 4


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: x.astype(np.int32), "found int32"),
        (lambda x: x[..., :-1], "expected uint8"),
        (lambda x: x[0], "expected uint8"),
        (lambda x: x[:0], "none of them 0"),
    ],
)
def test_what_does_not_fit_never_reaches_c(every_step, change, found):
    files, engine = every_step
    (spec,) = files.manifest.inputs
    feeds = dict(next(iter(files.vectors().values())).inputs)
    with pytest.raises(InvalidInputError, match=f"input '{spec.name}': {found}|{found}"):
        engine.run({**feeds, spec.name: change(feeds[spec.name])})


def test_names_and_batches_are_checked(every_step):
    files, engine = every_step
    feeds = dict(next(iter(files.vectors().values())).inputs)
    state = files.manifest.states[0].input
    with pytest.raises(InvalidInputError, match=f"input '{state}' is missing"):
        engine.run({name: array for name, array in feeds.items() if name != state})
    with pytest.raises(InvalidInputError, match="found an input 'z'"):
        engine.run({**feeds, "z": feeds[state]})
    with pytest.raises(InvalidInputError, match=f"input '{state}'"):
        engine.run({**feeds, state: np.repeat(feeds[state], 2, 0)})


def test_models_that_c_cannot_run_are_refused():
    with pytest.raises(UnsupportedModelError, match="runs bundles"):
        open_engine("c", bundle("mlp").model)
    with pytest.raises(UnsupportedModelError, match="again without --float-io"):
        open_engine("c", bundle("mlp-float-io"))
    with pytest.raises(UnsupportedModelError, match="Export without --inline"):
        open_engine("c", bundle("rnn-relu-inline"))


def test_a_manifest_that_lies_about_sizes_is_refused():
    """C would write ten outputs into the room of one."""
    files = bundle("mlp")
    (output,) = files.manifest.outputs
    small = dataclasses.replace(files.manifest, outputs=(dataclasses.replace(output, shape=("batch", 1)),))
    with pytest.raises(
        InvalidFileError, match=rf"'{output.name}' is .*\[batch, 1\] in manifest.json, model.onnx gives"
    ):
        open_engine("c", dataclasses.replace(files, manifest=small))


def test_a_manifest_that_allows_rows_beside_a_table_is_refused():
    files = bundle("embedding-gru")
    indices = [spec for spec in files.manifest.inputs if spec.scale is None]
    assert indices
    more = tuple(
        dataclasses.replace(spec, extra={**spec.extra, "vocabulary_size": 1 << 20}) if spec in indices else spec
        for spec in files.manifest.inputs
    )
    lying = dataclasses.replace(files, manifest=dataclasses.replace(files.manifest, inputs=more))
    with pytest.raises(InvalidFileError, match=r"indices that manifest\.json allows do not fit .*index 1048575"):
        open_engine("c", lying)


def test_sources_that_are_not_the_models_are_refused():
    files = bundle("mlp")
    assert open_engine("c", with_c(files)).name == "c"
    altered = c_files(files.model, files.manifest, host_twin())["model.c"] + b"\n/* one more line */\n"
    with pytest.raises(InvalidFileError, match=r"model\.c is not what model\.onnx gives .* nothing of it was run"):
        open_engine("c", with_c(files, model_c=altered))
    with pytest.raises(InvalidFileError, match=r"c\.sources: found 'elsewhere'"):
        open_engine(
            "c",
            dataclasses.replace(
                with_c(files), manifest=dataclasses.replace(files.manifest, extra={"c": {"sources": "elsewhere"}})
            ),
        )


def test_a_library_of_the_bundle_runs_only_when_it_is_trusted(tmp_path):
    files = bundle("mlp")
    mark = tmp_path / "ran"
    sources = c_files(files.model, files.manifest, host_twin())
    tell = f"""
#include <stdio.h>
__attribute__((constructor)) static void tell(void)
{{
    FILE *file = fopen("{mark}", "w");
    if (file) {{
        fclose(file);
    }}
}}
"""
    library = build({**sources, "model.c": sources["model.c"] + tell.encode()}, "host", "library")
    contents = {"lib/host/libmodel.so": library}
    untrusted = with_c(files)
    untrusted = dataclasses.replace(untrusted, contents={**untrusted.contents, **contents})
    vector = next(iter(files.vectors().values()))
    for name, found in open_engine("c", untrusted).run(vector.inputs).items():
        assert (found == vector.outputs[name]).all()
    assert not mark.exists()
    engine = open_engine("c", dataclasses.replace(untrusted, trusted=True))
    assert engine.version == "lib/host/libmodel.so of the bundle"
    for name, found in engine.run(vector.inputs).items():
        assert (found == vector.outputs[name]).all()
    assert mark.exists()


def test_a_library_with_another_processors_instructions_is_left_aside(monkeypatch):
    files = with_c(bundle("mlp"), trusted=True)
    said = {"sources": host_twin(), "targets": {"host": {"processor": "Another(R) Processor"}}}
    files = dataclasses.replace(
        files,
        manifest=dataclasses.replace(files.manifest, extra={"c": said}),
        contents={**files.contents, "lib/host/libmodel.so": b"its instructions would end this process"},
    )
    assert "of the bundle" not in open_engine("c", files).version


def test_a_library_for_another_machine_is_refused():
    files = with_c(bundle("mlp"), trusted=True)
    broken = {**files.contents, "lib/host/libmodel.so": b"\x7fELF no library"}
    with pytest.raises(MissingRequirementError, match="cannot be loaded"):
        open_engine("c", dataclasses.replace(files, contents=broken))


def test_a_machine_without_compiler(monkeypatch):
    from qdeploy.runtime.engines import available

    def missing(target):
        raise MissingRequirementError("found no C compiler")

    monkeypatch.setattr("qdeploy.export.c.build.compiler_version", missing)
    assert available()["c"] is None


def test_without_compiler_the_bundles_own_library_is_pointed_at(monkeypatch):
    def missing(*arguments, **options):
        raise MissingRequirementError("found no C compiler")

    monkeypatch.setattr("qdeploy.export.c.build.build", missing)
    monkeypatch.setattr(maker, "_BUILT", {})
    files = with_c(bundle("mlp"))
    with pytest.raises(MissingRequirementError, match=r"^found no C compiler$"):
        open_engine("c", files)
    files = dataclasses.replace(files, contents={**files.contents, "lib/host/libmodel.so": b"never loaded"})
    with pytest.raises(MissingRequirementError, match=r"no C compiler; or let lib/host/libmodel\.so .* with --trust"):
        open_engine("c", files)


def test_errors_of_the_library_are_told(every_step, monkeypatch):
    files, engine = every_step
    monkeypatch.setattr(engine, "_run", lambda *words: 1)
    with pytest.raises(ContractError, match="model_run refused"):
        engine.run(next(iter(files.vectors().values())).inputs)


def test_a_longer_whole_sequence_gets_a_library_with_more_memory():
    files = bundle("both-directions-lstm")
    engine = open_engine("c", files)
    vector = next(iter(files.vectors().values()))
    (spec,) = files.manifest.inputs
    most = engine._samples._most_steps
    # Of the calibration.
    assert most == 10
    axis = spec.time_axis
    repeats = -(-(most + 1) // vector.inputs[spec.name].shape[axis])
    longer = dict(vector.inputs) | {spec.name: np.concatenate([vector.inputs[spec.name]] * repeats, axis)}
    expected = open_engine("numpy", files).run(longer)
    found = engine.run(longer)
    assert engine._samples._most_steps > most
    assert all((found[name] == array).all() for name, array in expected.items())
    # The shorter sequence afterwards, in the larger memory.
    assert all((array == vector.outputs[name]).all() for name, array in engine.run(vector.inputs).items())
    trusted = with_c(files, trusted=True)
    library = {"lib/host/libmodel.so": maker._built(files, None).library}
    trusted = dataclasses.replace(trusted, contents={**trusted.contents, **library})
    with pytest.raises(InvalidInputError, match=f"expected at most {most}"):
        open_engine("c", trusted).run(longer)
