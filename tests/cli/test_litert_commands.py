"""``--runtime litert`` with ``--resolver`` and ``--delegate`` on the command line, in every command that has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qdeploy.runtime.bundle import read_bundle

pytestmark = [pytest.mark.litert, pytest.mark.needs("flatbuffers")]

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "rnn-relu-every.zip"
FILES = read_bundle(BUNDLE)


@pytest.fixture
def files(tmp_path):
    """The golden inputs as a file, and as samples with the reference's own answers as labels."""
    (spec,), vector = FILES.manifest.inputs, next(iter(FILES.vectors().values()))
    output = FILES.manifest.outputs[0]
    x, y = vector.inputs[spec.name], vector.outputs[output.name]
    np.save(tmp_path / "x.npy", x)
    labels = np.moveaxis(y, output.shape.index("batch"), 0).argmax(-1)
    np.savez(tmp_path / "data.npz", x=np.moveaxis(x, spec.batch_axis, 0), y=labels)
    return tmp_path


@pytest.mark.parametrize(
    "resolver", [(), ("--resolver", "default"), ("--resolver", "plain"), ("--resolver", "reference")]
)
def test_run_gives_the_golden_integers(qdeploy_command, files, resolver):
    done = qdeploy_command("run", BUNDLE, "--input", files / "x.npy", "--raw", "--runtime", "litert", *resolver)
    assert done.code == 0, done.err
    vector = next(iter(FILES.vectors().values()))
    for output in FILES.manifest.outputs:
        assert json.loads(done.out)[output.name] == vector.outputs[output.name].tolist()


def test_a_stream_of_files_goes_on(qdeploy_command, files):
    (spec,) = FILES.manifest.inputs
    x = np.load(files / "x.npy")
    first, rest = np.split(x, [1], spec.time_axis)
    np.save(files / "first.npy", first)
    np.save(files / "rest.npy", rest)
    words = ("--runtime", "litert", "--raw")
    assert (
        qdeploy_command("run", BUNDLE, "--input", files / "first.npy", "--save-state", files / "s.npz", *words).code
        == 0
    )
    done = qdeploy_command("run", BUNDLE, "--input", files / "rest.npy", "--state", files / "s.npz", *words)
    whole = json.loads(qdeploy_command("run", BUNDLE, "--input", files / "x.npy", *words).out)
    (output,) = FILES.manifest.outputs
    assert (
        json.loads(done.out)[output.name] == np.split(np.array(whole[output.name]), [1], output.time_axis)[1].tolist()
    )


def test_validate_verify_and_bench_take_a_resolver(qdeploy_command, files):
    words = ("--runtime", "litert", "--resolver", "plain", "--json")
    found = json.loads(qdeploy_command("validate", BUNDLE, "--data", files / "data.npz", *words).out)
    assert found["runtime"] == "litert"
    assert found["integer_value"] == 1
    report = json.loads(qdeploy_command("verify", BUNDLE, "--samples", 2, "--case", "golden", *words).out)
    assert report["passed"]
    assert [voice["name"] for voice in report["voices"]][1:] == ["litert, plain kernels"]
    rows = json.loads(qdeploy_command("bench", BUNDLE, "--steps", 2, "--calls", 3, *words).out)["rows"]
    assert [row["name"] for row in rows] == ["litert"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--runtime", "numpy", "--resolver", "plain"),
            "found a resolver with the runtime numpy; it belongs to LiteRT",
        ),
        (
            ("--runtime", "litert", "--resolver", "fast"),
            "found the resolver 'fast', expected one of default, plain, ref",
        ),
        (
            ("--runtime", "litert", "--delegate", "/none/lib.so"),
            "/none/lib.so: is no file; expected the shared library",
        ),
        (("--runtime", "litert", "--delegate", str(BUNDLE)), "cannot be loaded"),
        (("--runtime", "litert", "--delegate-option", "a=b"), "found the options a of a delegate, and no delegate"),
        (("--runtime", "litert", "--delegate-option", "ab"), "--delegate-option ab: expected KEY=VALUE"),
    ],
)
@pytest.mark.parametrize("name", ["run", "validate", "verify", "bench"])
def test_what_cannot_be_meant_is_a_usage_error(qdeploy_command, files, name, words, said):
    more = {"run": ("--input", files / "x.npy"), "validate": ("--data", files / "data.npz")}.get(name, ())
    done = qdeploy_command(name, BUNDLE, *more, *words)
    assert done.code == 2
    assert said in done.err
