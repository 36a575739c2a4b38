"""Whether a study's picture can be drawn."""

from __future__ import annotations

from importlib.util import find_spec

from qdeploy.runtime.errors import MissingRequirementError

__all__ = ["check_can_draw"]


def check_can_draw() -> None:
    """Says before a study begins that its picture could not be drawn.

    Raises:
        MissingRequirementError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingRequirementError(
            "the study's picture needs matplotlib, which is not installed: pip install 'qdeploy[torch]', or leave out -o"
        )
