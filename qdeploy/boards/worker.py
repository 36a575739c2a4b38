"""What runs inside a worker process: opens models in its engines and computes what it is sent, until the stream ends.

An emulated Python may have no onnx: what needs it is imported when it is asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qdeploy.boards.frames import receive, send
from qdeploy.runtime.errors import MissingRequirementError, QdeployError

if TYPE_CHECKING:
    import numpy.typing as npt

    from qdeploy.runtime.engines import Engine

__all__ = ["main"]


def main() -> None:
    """Answers on what was stdout; whatever is printed goes to stderr."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    engines: list[Engine] = []
    while (message := receive(requests)) is not None:
        header, arrays = message
        try:
            if header["do"] == "available":
                from qdeploy.runtime.engines import available

                send(replies, {"available": available()}, {})
            elif header["do"] == "packages":
                send(replies, {"packages": _packages()}, {})
            elif header["do"] == "open":
                engine = (_open_litert if header["runtime"] == "litert" else _open)(header, arrays)
                engines.append(engine)
                send(replies, {"engine": len(engines) - 1, "version": engine.version}, {})
            else:
                send(replies, {}, engines[header["engine"]].run(arrays))
        except QdeployError as error:
            send(replies, {"error": type(error).__name__, "message": str(error)}, {})


def _open(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Engine:
    import onnx

    from qdeploy.runtime.engines import open_engine

    # It is verify's own, some with outputs whose types only a runtime infers: not to be judged as a file.
    model = onnx.ModelProto.FromString(arrays["model"].tobytes())
    return open_engine(header["runtime"], model, threads=header["threads"], optimize=header["optimize"])


def _open_litert(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Engine:
    from qdeploy.runtime.litert_interpreter import Border, LitertInterpreter

    return LitertInterpreter(
        arrays["model"].tobytes(),
        Border(**header["border"]),
        threads=header["threads"],
        package=header["package"],
        **header["options"],
    )


def _packages() -> dict[str, str]:
    """The interpreters of LiteRT that are installed, with their versions."""
    from qdeploy.runtime.litert_interpreter import PACKAGES, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except MissingRequirementError:
            continue
    return found
