"""The child process: makes and reads one input after the other, under limits of memory.

It gets lines ``READER<tab>CAMPAIGN<tab>NUMBER`` and answers each with two lines of JSON, before and after it reads the
input, on the descriptor that it is given. What libraries print goes to its stderr, with the place where it died.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

#: Above what the process takes once all libraries are loaded: address space, and memory that one input may touch.
ADDRESS_SPACE = 3 << 30
RESIDENT = 768 << 20


def _load() -> None:
    """Imports what readers import late, so that the limits measure inputs and not libraries."""
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401

    import qdeploy.capture
    import qdeploy.exporter
    import qdeploy.models.training
    import qdeploy.validate
    import qdeploy.verify  # noqa: F401


def _status(key: str) -> int:
    """A line of /proc/self/status in bytes, 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{key}:")), 0)


def _limit_address_space() -> None:
    size = _status("VmSize")
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE, resource.RLIM_INFINITY))


def _reset_peak() -> None:
    """Lets the kernel measure the peak of resident memory anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    work = Path(sys.argv[2])
    faulthandler.enable()
    # The parent asks where an input hangs.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    warnings.simplefilter("ignore")
    # The commands' -v would otherwise bind logging to the first input's stderr.
    logging.getLogger().addHandler(logging.NullHandler())
    misbehaviour = os.environ.get("QDEPLOY_FUZZ_MISBEHAVE")
    if misbehaviour is None:
        _load()
    from .mutate_files import write_files
    from .readers import READERS, make, outcome

    limited = False
    for line in sys.stdin:
        name, campaign, index = line.rstrip("\n").split("\t")
        reader = READERS[name]
        if misbehaviour is not None:
            from .misbehaviour import misbehave

            reader = replace(reader, read=partial(misbehave, misbehaviour))
        files = make(reader, campaign, int(index))
        if not limited:
            # Libraries and seeds are there by now.
            _limit_address_space()
            limited = True
        # Emptied for each input: what is left by one cannot be read by the next.
        folder = work / "input"
        write_files(folder, files)
        answers.write(json.dumps({"made": index}) + "\n")
        _reset_peak()
        before, begin = _status("VmRSS"), time.perf_counter()
        try:
            kind, detail = outcome(reader, folder)
        except BaseException as error:  # noqa: BLE001 - whatever comes through is the finding
            kind, detail = "failed", "".join(traceback.format_exception(error))[-6000:]
        seconds = time.perf_counter() - begin
        grown = _status("VmHWM") - before
        if kind != "failed" and grown > RESIDENT:
            kind, detail = "failed", f"took {grown >> 20} MiB ({kind}: {detail})"
        answers.write(json.dumps({"kind": kind, "detail": detail[:6000], "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
