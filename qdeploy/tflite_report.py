"""What ``inspect`` says about a bundle's ``model.tflite``, from the file itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qdeploy.export.tflite.reader import check_integer_only, read_tflite
from qdeploy.tflite_file import NAME

if TYPE_CHECKING:
    from qdeploy.export.tflite.reader import SignatureEntry, TfliteContents
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["TfliteReport", "tflite_report"]


@dataclass(frozen=True)
class TfliteReport:
    """What stands in a bundle's ``model.tflite``; all its tensors are of integers.

    Attributes:
        qdeploy: the version that wrote it; empty where it does not say.
        onnx_sha256: of the model.onnx that it was made of.
        of_this_model: whether that is the bundle's.
        bytes: of the file.
        model_bytes: of the bundle's model.onnx.
        constants: bytes of ``weights``, ``tables`` and ``others``, those that tensors share counted once.
        operators: how often each occurs in all subgraphs, by name.
        versions: the version of each operator that is not 1.
        signatures: by key the inputs and outputs, each with type and shape.
    """

    qdeploy: str
    onnx_sha256: str
    of_this_model: bool
    bytes: int
    model_bytes: int
    constants: dict[str, int]
    operators: dict[str, int]
    versions: dict[str, int]
    signatures: dict[str, dict[str, dict[str, str]]]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        kinds = ", ".join(
            f"{count} {name}" + (f" (version {self.versions[name]})" if name in self.versions else "")
            for name, count in sorted(self.operators.items())
        )
        parts = ", ".join(f"{name} {size:,}" for name, size in self.constants.items())
        writer = f"qdeploy {self.qdeploy}" if self.qdeploy else "an unknown writer"
        lines = [
            f"{NAME} {self.bytes:,} bytes by {writer}, integers only, {self.bytes / self.model_bytes:.2f} times model.onnx",
            f"its bytes: {parts}, operators and tensors {self.bytes - sum(self.constants.values()):,}",
            f"LiteRT operators: {kinds}",
        ]
        for key, borders in self.signatures.items():
            inputs, outputs = (
                ", ".join(f"{name} {kind}" for name, kind in borders[side].items()) for side in ("inputs", "outputs")
            )
            lines.append(f"signature {key}: {inputs} to {outputs}")
        if not self.of_this_model:
            lines.append(
                f"{NAME} was made of another model.onnx (SHA-256 {self.onnx_sha256 or 'not given'}); export again"
            )
        return lines


def tflite_report(files: BundleFiles) -> TfliteReport | None:
    """Reads a bundle's ``model.tflite``; None where it has none. Nothing of it is run.

    Raises:
        InvalidFileError: it is no such file, is truncated or altered, or has a tensor that is not of integers.
    """
    if NAME not in files.contents:
        return None
    content = files.contents[NAME]
    where = f"{files.path}: {NAME}"
    found = read_tflite(content, where)
    check_integer_only(found, where)
    operators: dict[str, int] = {}
    versions: dict[str, int] = {}
    for (name, version), count in found.operators().items():
        operators[name] = operators.get(name, 0) + count
        if version != 1:
            versions[name] = max(version, versions.get(name, 1))
    origin = found.origin()
    sha256 = origin.get("onnx_sha256", "")
    return TfliteReport(
        qdeploy=origin.get("qdeploy", ""),
        onnx_sha256=sha256,
        of_this_model=sha256 == files.manifest.files["model.onnx"].sha256,
        bytes=len(content),
        model_bytes=files.manifest.files["model.onnx"].bytes,
        constants=found.constants_by_use(),
        operators=operators,
        versions=versions,
        signatures={signature.key: _borders(found, signature) for signature in found.signatures},
    )


def _borders(found: TfliteContents, signature: SignatureEntry) -> dict[str, dict[str, str]]:
    tensors = found.subgraphs[signature.subgraph].tensors

    def kinds(values: dict[str, int]) -> dict[str, str]:
        # An open size is a sequence's number of steps.
        return {
            name: f"{tensors[n].dtype}[{', '.join('time' if size < 0 else str(size) for size in tensors[n].shape)}]"
            for name, n in values.items()
        }

    return {"inputs": kinds(signature.inputs), "outputs": kinds(signature.outputs)}
