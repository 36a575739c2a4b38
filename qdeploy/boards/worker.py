"""What runs inside an emulated Python: opens models in its engines and computes what it is sent, until the stream ends."""

from __future__ import annotations

import os
import sys

import onnx

from qdeploy.boards.frames import receive, send
from qdeploy.runtime.engines import Engine, available, open_engine
from qdeploy.runtime.errors import QdeployError

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
                send(replies, {"available": available()}, {})
            elif header["do"] == "open":
                # It is verify's own, some with outputs whose types only a runtime infers: not to be judged as a file.
                model = onnx.ModelProto.FromString(arrays["model"].tobytes())
                engine = open_engine(header["runtime"], model, threads=header["threads"], optimize=header["optimize"])
                engines.append(engine)
                send(replies, {"engine": len(engines) - 1, "version": engine.version}, {})
            else:
                send(replies, {}, engines[header["engine"]].run(arrays))
        except QdeployError as error:
            send(replies, {"error": type(error).__name__, "message": str(error)}, {})
