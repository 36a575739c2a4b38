"""Kernels and delegates of LiteRT that a user chooses, operators that a runtime lacks, and packages that are missing."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qdeploy
from qdeploy.export.tflite.schema import OPERATORS, OperatorSchema
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime import litert_interpreter
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.engines import available, open_engine
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingRequirementError, UnsupportedModelError
from qdeploy.runtime.litert_interpreter import Border, LitertInterpreter
from qdeploy.runtime.litert_options import RESOLVERS, LitertOptions
from qdeploy.runtime.litert_rules import X86_AVX

pytestmark = pytest.mark.litert

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "rnn-relu-state12.zip"
FILES = read_bundle(BUNDLE)


def integers() -> np.ndarray:
    """The golden input of one sample."""
    (spec,) = FILES.manifest.inputs
    return np.take(next(iter(FILES.vectors().values())).inputs[spec.name], [0], spec.batch_axis)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delegate that claims nothing."""
    path = tmp_path_factory.mktemp("delegate") / "libclaims_nothing.so"
    source = Path(__file__).with_name("litert_delegate.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", path, source], check=True)
    return path


class TestWhereTheyAreTaken:
    @pytest.mark.parametrize("resolver", RESOLVERS)
    def test_a_session_computes_the_same_with_each_resolver(self, resolver: str) -> None:
        bundle = qdeploy.load(BUNDLE)
        wanted = bundle.run(integers(), runtime="numpy", raw=True)
        found = bundle.run(integers(), runtime="litert", raw=True, litert=LitertOptions(resolver))
        assert all((found[name] == array).all() for name, array in wanted.items())

    def test_the_resolver_reaches_the_runtime(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = litert_interpreter.interpreter_module()
        seen: list[Any] = []

        class Watched(module.Interpreter):  # type: ignore[name-defined,misc]
            def __init__(self, **options: Any) -> None:
                seen.append(options["experimental_op_resolver_type"])
                super().__init__(**options)

        monkeypatch.setattr(module, "Interpreter", Watched)
        for options in (None, *map(LitertOptions, RESOLVERS)):
            qdeploy.load(BUNDLE).session(runtime="litert", litert=options)
        kinds = module.OpResolverType
        wanted = (kinds.AUTO, kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES, kinds.BUILTIN_REF)
        assert seen == [kinds.AUTO, *wanted]

    @pytest.mark.parametrize("runtime", ["numpy", "bodies", "onnxruntime", "c"])
    def test_another_runtime_has_none(self, runtime: str) -> None:
        with pytest.raises(
            InvalidInputError, match=f"found a resolver with the runtime {runtime}; it belongs to LiteRT"
        ):
            open_engine(runtime, FILES, litert=LitertOptions("plain"))

    def test_verify_compares_the_one_that_is_named(self) -> None:
        bundle = qdeploy.load(BUNDLE)
        names = {v.name for v in bundle.verify(runtimes=["litert"], samples=2, case="golden").voices}
        assert {f"litert, {resolver} kernels" for resolver in RESOLVERS} < names
        named = bundle.verify(runtimes=["litert"], samples=2, case="golden", litert=LitertOptions("plain"))
        assert [v.name for v in named.voices if v.name.startswith("litert")] == ["litert, plain kernels"]
        with pytest.raises(InvalidInputError, match="found a resolver with the runtime bodies"):
            bundle.verify(runtimes=["bodies"], litert=LitertOptions("plain"))
        with pytest.raises(InvalidInputError, match="found a resolver with no runtime named"):
            bundle.verify(litert=LitertOptions("plain"))

    def test_bench_hands_them_to_litert_alone(self) -> None:
        report = qdeploy.load(BUNDLE).bench(
            runtimes=["numpy", "litert"], steps=2, calls=3, litert=LitertOptions("reference")
        )
        assert [row.name for row in report.rows] == ["numpy", "litert"]
        with pytest.raises(InvalidInputError, match="found a resolver with the runtime numpy"):
            qdeploy.load(BUNDLE).bench(runtimes=["numpy"], steps=2, calls=3, litert=LitertOptions("plain"))

    def test_validate_takes_them(self) -> None:
        (spec,) = FILES.manifest.inputs
        samples = np.moveaxis(integers(), spec.batch_axis or 0, 0).astype(np.float32)
        outputs = qdeploy.load(BUNDLE).run(np.moveaxis(samples, 0, spec.batch_axis or 0), runtime="numpy")
        first = next(iter(outputs.values()))
        axis = FILES.manifest.outputs[0].shape.index("batch")
        data = {"x": samples, "y": np.moveaxis(first, axis, 0).argmax(-1)}
        report = qdeploy.load(BUNDLE).validate(data, runtime="litert", litert=LitertOptions("plain"))
        assert report.integer_value == 1


class TestKernelsThatRoundOtherwise:
    """A bundle with layers by LiteRT's own kernels, whose bits are claimed for some kernel sets only."""

    files = read_bundle(BUNDLE.with_name("builtin-conv-1d.zip"))

    def test_nobody_gets_other_integers_unasked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("qdeploy.tflite_file.processor", lambda: X86_AVX)
        with pytest.raises(UnsupportedModelError, match="with its plain kernels would compute other integers") as error:
            open_engine("litert", self.files, optimize=False)
        assert "--resolver plain" in str(error.value)
        assert "names half_even" in str(error.value)

    def test_who_names_the_kernels_gets_them(self) -> None:
        assert open_engine("litert", self.files, litert=LitertOptions("plain")).name == "litert"

    def test_a_processor_that_was_not_measured_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("qdeploy.tflite_file.processor", lambda: None)
        with pytest.raises(UnsupportedModelError, match="its kernels were not measured on this processor"):
            open_engine("litert", self.files)
        # Without such layers every processor gives the same.
        assert open_engine("litert", FILES).name == "litert"


class TestOptions:
    def test_an_unknown_resolver(self) -> None:
        with pytest.raises(
            InvalidInputError, match="found the resolver 'fast', expected one of default, plain, reference"
        ):
            LitertOptions("fast")

    def test_options_without_a_delegate(self) -> None:
        with pytest.raises(InvalidInputError, match="found the options threads of a delegate, and no delegate"):
            LitertOptions(delegate_options={"threads": "2"})

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(
            InvalidFileError, match=r"libnone\.so: is no file; expected the shared library of a delegate"
        ):
            LitertOptions(delegate=tmp_path / "libnone.so")

    def test_nothing_is_no_option(self) -> None:
        assert not LitertOptions()
        assert LitertOptions("plain")


@pytest.mark.cc
class TestDelegates:
    def test_it_is_asked_and_the_bits_stay(self, library: Path, tmp_path: Path) -> None:
        bundle = qdeploy.load(BUNDLE)
        wanted = bundle.run(integers(), runtime="numpy", raw=True)
        options = LitertOptions(delegate=library, delegate_options={"log": str(tmp_path / "log")})
        found = bundle.run(integers(), runtime="litert", raw=True, litert=options)
        assert all((found[name] == array).all() for name, array in wanted.items())
        assert set((tmp_path / "log").read_text().splitlines()) == {"asked"}

    def test_verify_asks_it_in_its_child_process(self, library: Path, tmp_path: Path) -> None:
        options = LitertOptions("plain", library, {"log": str(tmp_path / "log")})
        report = qdeploy.load(BUNDLE).verify(runtimes=["litert"], samples=2, case="golden", litert=options)
        assert report.passed
        assert report.voices[-1].name == "litert, plain kernels, delegate libclaims_nothing.so"
        assert (tmp_path / "log").exists()

    def test_a_delegate_runs_on_no_board(self, library: Path) -> None:
        from qdeploy.verify.litert import litert_engines

        class Board:
            board = "pi4"

        with pytest.raises(InvalidInputError, match="a delegate is a library of this machine"):
            list(litert_engines(FILES, b"", None, Board(), [], LitertOptions(delegate=library)))  # type: ignore[arg-type]

    def test_one_that_refuses_is_quoted(self, library: Path) -> None:
        options = LitertOptions(delegate=library, delegate_options={"refuse": "no such device"})
        with pytest.raises(InvalidInputError, match=r"the delegate refuses \(options: refuse=.*\): .*no such device"):
            open_engine("litert", FILES, litert=options)

    def test_a_file_that_is_no_library(self, tmp_path: Path) -> None:
        (tmp_path / "text.so").write_text("no library" * 100)
        with pytest.raises(InvalidFileError, match=r"text\.so: cannot be loaded \(.*invalid ELF header"):
            open_engine("litert", FILES, litert=LitertOptions(delegate=tmp_path / "text.so"))

    def test_a_library_that_is_no_delegate(self, tmp_path: Path) -> None:
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-x", "c", "-o", tmp_path / "other.so", "-"], input=b"int f;", check=True
        )
        with pytest.raises(InvalidFileError, match=r"other\.so: has no tflite_plugin_create_delegate"):
            open_engine("litert", FILES, litert=LitertOptions(delegate=tmp_path / "other.so"))


BORDER = Border({"x": "int32"}, {"x": 0}, {"y": 0}, {})


def one_add() -> bytes:
    """A file with one ADD, as OPERATORS has it."""
    model = ModelWriter("test")
    _, graph = model.subgraph("main")
    x = graph.input("x", np.int32, (1, 2))
    y = graph.add("ADD", [x, x], np.int32, (1, 2), "y")
    graph.output(y)
    model.signature("serving_default", 0, {"x": x}, {"y": y})
    return model.to_bytes()


class TestOperatorsThatARuntimeLacks:
    @pytest.mark.parametrize(
        ("written", "words"),
        [
            (OperatorSchema(0, 99, 11), "lacks the operator ADD in version 99, which model.tflite has; update it"),
            (OperatorSchema(5000, 1, 11), "lacks the operator 5000, which model.tflite has; update it"),
        ],
    )
    def test_the_message_names_it(self, written: OperatorSchema, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(OPERATORS, "ADD", written)
        with pytest.raises(UnsupportedModelError) as error:
            LitertInterpreter(one_add(), BORDER)
        assert words in str(error.value)
        assert str(error.value).startswith(litert_interpreter.version())
        assert str(error.value).endswith("choose another runtime: onnxruntime, numpy, bodies")

    def test_kernels_that_lack_it_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(OPERATORS, "ADD", OperatorSchema(0, 99, 11))
        with pytest.raises(UnsupportedModelError, match="ADD in version 99 among its reference kernels"):
            LitertInterpreter(one_add(), BORDER, resolver="reference")

    @pytest.mark.parametrize("resolver", RESOLVERS)
    def test_every_operator_that_is_written_is_in_every_kernel_set(
        self, resolver: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lacking = []
        for kind, written in OPERATORS.copy().items():
            # The runtime looks for operators before it looks at what they are given.
            monkeypatch.setitem(OPERATORS, "ADD", written)
            try:
                LitertInterpreter(one_add(), BORDER, resolver=resolver)
            except UnsupportedModelError as error:
                lacking += [kind] if "lacks the operator" in str(error) else []
        assert lacking == []


class TestPackages:
    def installed(self, monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
        def version(name: str) -> str:
            if name.replace("-", "_") not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name.replace("-", "_")]

        monkeypatch.setattr(litert_interpreter.metadata, "version", version)

    def test_neither(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed(monkeypatch)
        with pytest.raises(
            MissingRequirementError, match=r"neither ai-edge-litert nor tflite-runtime is installed"
        ) as error:
            open_engine("litert", FILES)
        assert "pip install 'qdeploy[litert]'" in str(error.value)
        assert "'qdeploy[tflite]'" in str(error.value)
        assert available()["litert"] is None

    def test_the_older_one_with_numpy_2_is_never_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed(monkeypatch, tflite_runtime="2.14.0")
        monkeypatch.setattr(litert_interpreter.np, "__version__", "2.4.6")
        monkeypatch.setattr(litert_interpreter, "import_module", lambda name: pytest.fail(f"{name} was imported"))
        with pytest.raises(
            MissingRequirementError, match=r"tflite-runtime 2\.14\.0 ends the process with NumPy 2, found NumPy 2"
        ):
            open_engine("litert", FILES)
        assert available()["litert"] is None

    def test_the_older_one_with_numpy_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed(monkeypatch, tflite_runtime="2.14.0")
        monkeypatch.setattr(litert_interpreter.np, "__version__", "1.26.4")
        assert litert_interpreter.version() == "tflite-runtime 2.14.0"

    def test_the_newer_one_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed(monkeypatch, tflite_runtime="2.14.0", ai_edge_litert="2.3.0")
        assert litert_interpreter.version() == "ai-edge-litert 2.3.0"
