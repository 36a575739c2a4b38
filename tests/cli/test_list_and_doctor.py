"""What is there, told by registries and by a look at the machine."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from qdeploy import doctor
from qdeploy.cli.list_command import KINDS
from qdeploy.export.c.targets import TARGETS
from qdeploy.listing import listing
from qdeploy.runtime import litert_interpreter
from qdeploy.runtime.engines import ENGINES
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.ops import OPERATORS, RECURRENT


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_lists_something(qdeploy_command, kind):
    entries = json.loads(qdeploy_command("list", kind, "--json").out)
    assert entries
    for entry in entries:
        assert {"name", "description"} <= set(entry)
        assert entry["description"]
    done = qdeploy_command("list", kind)
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == [entry["name"] for entry in entries]


def test_operators_and_runtimes_come_from_their_registries():
    assert {entry.name for entry in listing("operators")} == set(OPERATORS)
    assert {entry.name for entry in listing("runtimes")} == set(ENGINES)


def test_targets_come_from_their_table(qdeploy_command):
    entries = {entry.name: entry for entry in listing("targets")}
    assert list(entries) == list(TARGETS)
    assert entries["pi4"].details["library"] == "libmodel.so"
    assert entries["cortex-m4"].details["library"] == "libmodel.a"
    assert entries["generic"].details["library"] is None
    line = next(line for line in qdeploy_command("list", "targets").out.splitlines() if line.startswith("cortex-m4"))
    assert line.endswith("1024 KiB flash, 256 KiB RAM")


def test_operators_and_models_show_their_family(qdeploy_command):
    families = {entry.name: entry.family for entry in listing("operators")}
    assert {name for name, family in families.items() if family == "recurrent"} == set(RECURRENT)
    assert families["TimeMean"] == "sequence"
    assert families["Linear"] == families["Add"] == "layer"
    assert families["HamiltonMatrix"] == families["UnpackWeights"] == "weights"
    models = {entry.name: entry.family for entry in listing("models")}
    assert models["qornn-digits"] == "orthogonal-classifier"
    assert models["gru-spoken"] == "gru"
    line = next(line for line in qdeploy_command("list", "models").out.splitlines() if line.startswith("gru-spoken"))
    assert line.split()[1] == "gru"


def test_unknown_kind(qdeploy_command):
    done = qdeploy_command("list", "colours")
    assert done.code == 2
    assert "colours" in done.err
    with pytest.raises(InvalidInputError, match="colours"):
        listing("colours")


def test_doctor_names_packages_runtimes_and_data(qdeploy_command):
    done = qdeploy_command("doctor")
    assert done.code == 0
    for word in ("numpy", "onnxruntime", "processor", "sequential-digits", doctor.OLDEST_ONNXRUNTIME):
        assert word in done.out


def test_doctor_as_json(qdeploy_command):
    found = json.loads(qdeploy_command("doctor", "--json").out)
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["numpy"]["state"] == "ok"
    assert packages["torch"]["extra"] == "torch"
    assert packages["ziglang"]["extra"] == "c"
    assert found["runtimes"].keys() == set(ENGINES)
    assert found["emulators"].keys() == {"qemu-arm", "qemu-aarch64", "qemu-system-arm"}


def test_doctor_tells_where_missing_data_belong(qdeploy_command, monkeypatch, tmp_path):
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    found = json.loads(qdeploy_command("doctor", "--json").out)
    assert found["datasets"]["mnist"] is not None
    assert any(str(tmp_path / "mnist") in text for text in found["missing"])
    assert found["datasets"]["copy"] is None


@pytest.mark.parametrize(
    ("installed", "state"),
    [(None, "absent"), ("1.19.2", "too old"), ("1.20", "ok"), ("1.20.0+cpu", "ok"), ("2.0rc1", "ok")],
)
def test_state_of_a_package(installed, state):
    assert doctor.Package("onnxruntime", installed, "1.20", "1.31.1", None).state == state


def test_missing_packages_come_with_a_command(monkeypatch):
    absent = {"torch", "rich", "ziglang"}
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name in absent else "99.0")
    missing = doctor.examine().missing
    assert any(text.startswith("torch") and "pip install 'qdeploy[torch]'" in text for text in missing)
    assert any(text.startswith("ziglang, to compile C") and "pip install 'qdeploy[c]'" in text for text in missing)
    assert any(text.startswith("rich") and "pip install" in text for text in missing)


@pytest.mark.parametrize(
    ("versions", "extra", "names"),
    [
        ({"ai-edge-litert": "2.3.0", "flatbuffers": "25.1"}, "litert", ["ai-edge-litert", "flatbuffers"]),
        ({"tflite-runtime": "2.14.0", "flatbuffers": "25.1"}, "tflite", ["tflite-runtime", "flatbuffers"]),
        ({}, "litert", ["ai-edge-litert", "flatbuffers"]),
    ],
)
def test_doctor_names_the_package_of_litert(monkeypatch, versions, extra, names):
    monkeypatch.setattr(doctor, "_installed", versions.get)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    report = doctor.examine()
    found = {package.name: package.installed for package in report.packages if package.extra in {"litert", "tflite"}}
    assert found == {name: versions.get(name) for name in names}
    text = next((text for text in report.missing if ".tflite files" in text), "")
    assert bool(text) == (not versions)
    if text:
        assert text == "ai-edge-litert, flatbuffers, to write and run .tflite files: pip install 'qdeploy[litert]'"
    assert {package.extra for package in report.packages} & {"litert", "tflite"} == {extra}


def test_doctor_asks_for_the_older_one_where_nothing_else_runs(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: "99.0" if name == "numpy" else None)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "armv7l")
    assert any("tflite-runtime" in text and "'qdeploy[tflite]'" in text for text in doctor.examine().missing)


def test_doctor_says_that_the_older_one_dies_with_numpy_2(monkeypatch):
    def version(name):
        if name != "tflite-runtime":
            raise metadata.PackageNotFoundError(name)
        return "2.14.0"

    monkeypatch.setattr(doctor, "_installed", {"tflite-runtime": "2.14.0"}.get)
    monkeypatch.setattr(litert_interpreter.metadata, "version", version)
    monkeypatch.setattr(litert_interpreter.np, "__version__", "2.4.6")
    assert any("tflite-runtime 2.14.0 ends the process with NumPy 2" in text for text in doctor._missing((), {}))
