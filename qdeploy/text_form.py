"""How a model takes a text: by which vocabulary its characters are numbered, and whether as indices or one-hot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeploy.datasets import Vocabulary
    from qdeploy.runtime.manifest import Manifest

__all__ = ["TextForm"]


@dataclass(frozen=True)
class TextForm:
    """What turns a text into a model's input.

    Attributes:
        vocabulary: the characters of a character model by index, or None for the text's own.
        indices: whether characters are integers [N, T], for an embedding; else they are one-hot, float32 [N, T, V].
    """

    vocabulary: tuple[str, ...] | None = None
    indices: bool = False

    @classmethod
    def of_model(cls, model: Any) -> TextForm:
        """That of a checkpoint, which lists its vocabulary and its embedding; of any other model the one-hot form.

        Raises:
            InvalidFileError: a checkpoint that cannot be used, or lists no vocabulary where it says so.
        """
        if isinstance(model, str | Path) and Path(model).suffix != ".onnx":
            from qdeploy.capture.checkpoint_source import checkpoint_takes_indices, checkpoint_vocabulary

            return cls(checkpoint_vocabulary(model), checkpoint_takes_indices(model))
        return cls()

    @classmethod
    def of_bundle(cls, manifest: Manifest) -> TextForm:
        """That of a bundle.

        Raises:
            InvalidInputError: what the manifest lists is no vocabulary.
        """
        from qdeploy.datasets import Vocabulary

        found = manifest.created_from.get("vocabulary")
        characters = None if found is None else Vocabulary.from_json(found).characters
        return cls(characters, any(spec.vocabulary_size is not None for spec in manifest.inputs))

    def known(self) -> Vocabulary | None:
        """The vocabulary as the data sets take it."""
        from qdeploy.datasets import Vocabulary

        return None if self.vocabulary is None else Vocabulary(self.vocabulary)
