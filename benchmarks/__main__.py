"""``python -m benchmarks --output build/bench/report.json``: all rows, one table, one report."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import convolution, fast, gated, sparse_linear
from benchmarks.c.host_kernels import measure_quaternion
from benchmarks.c.images import ONNX, C, measure_network
from benchmarks.c.instructions import PROCESSORS, SIZE, measure_products, missing
from benchmarks.c.loops import LITERT, measure_c_gated, measure_c_rnn
from benchmarks.fast import measure_fast
from benchmarks.gated import measure_gated
from benchmarks.litert.rows import litert_rows
from benchmarks.loops import FLOAT, measure
from benchmarks.quaternion_linear import measure_numpy
from benchmarks.rows import Row, compared, percentages
from qdeploy.export.c.build import compiler
from qdeploy.quantize import load_recipe
from qdeploy.runtime.errors import MissingRequirementError


def loop_rows() -> list[Row]:
    """Power-of-two loops (``u8``, ``s12``) and loops on the exact grid of a trained network (``exact``)."""
    fast, default = load_recipe("fast-loop"), load_recipe("default")
    small = measure(
        170,
        {
            "u8": (fast, False),
            "s12": (fast.changed(state_bits=12), False),
            "u8-exact": (default.changed(state_bits=8), True),
            "s12-exact": (default, True),
        },
    )
    large = measure(512, {"u8": (fast, False)})
    operator = f"onnxruntime's {FLOAT}, ReLU"
    return [
        compared("onnx-loop-h170-u8", small["u8"], small[FLOAT], operator, 1.5),
        compared("onnx-loop-h512-u8", large["u8"], large[FLOAT], operator, 0.75),
        compared("onnx-loop-h170-s12", small["s12"], small["u8"], "onnx-loop-h170-u8", 2.0),
        compared("onnx-loop-h170-u8-exact", small["u8-exact"], small[FLOAT], operator, 2.0),
        compared("onnx-loop-h170-s12-exact", small["s12-exact"], small[FLOAT], operator, 3.5),
    ]


def gated_rows() -> list[Row]:
    """GRU and LSTM with 8-bit states and, ``s12``, with those of the default recipe; what others quantize beside them."""
    default = load_recipe("default")
    rows = []
    for kind in ("GRU", "LSTM"):
        for hidden, goal in ((170, 3.0), (512, 0.4)):
            found = measure_gated(kind, hidden, {"u8": default.changed(state_bits=8), "s12": default})
            name, operator = f"onnx-{kind.lower()}-h{hidden}", f"onnxruntime's float {kind}"
            rows += [
                compared(name, found["u8"], found[gated.FLOAT], operator, goal),
                compared(f"{name}-s12", found["s12"], found[gated.FLOAT], operator, goal),
            ]
            for other, label in ((gated.TORCH_DYNAMIC, "torch-dynamic"), (gated.ORT_DYNAMIC, "onnxruntime-dynamic")):
                if other in found:
                    rows.append(compared(f"{name}-{label}", found["u8"], found[other], f"{other} int8 {kind}", None))
    return rows


def fast_rows() -> list[Row]:
    """FastRNN and FastGRNN with 8-bit states and those of the default recipe, against our own GRU of the same recipe."""
    default = load_recipe("default")
    rows = []
    for hidden, rank in ((170, 32), (512, 64)):
        for suffix, recipe in (("", default.changed(state_bits=8)), ("-s12", default)):
            found = measure_fast(hidden, rank, recipe)
            against = f"onnx-gru-h{hidden}{suffix}"
            rows += [
                compared(f"onnx-fastrnn-h{hidden}{suffix}", found["FastRNN"], found[fast.GRU], against, 1.0),
                compared(f"onnx-fastgrnn-h{hidden}{suffix}", found["FastGRNN"], found[fast.GRU], against, 1.0),
                compared(
                    f"onnx-fastgrnn-h{hidden}-rank{rank}{suffix}", found[fast.LOW_RANK], found[fast.GRU], against, 1.0
                ),
            ]
    return rows


def product_rows() -> list[Row]:
    """A quaternion layer of 1024 x 1024 in the NumPy reference, with 8 multiplications a pair against the whole matrix."""
    rows = []
    for batch, goal in ((1, 1.0), (64, 0.9), (1024, 1.0)):
        found = measure_numpy(1024, 1024, batch)
        name = f"numpy-quaternion-linear-b{batch}"
        rows.append(compared(name, found["eight"], found["whole"], "the whole matrix in NumPy", goal, unit="µs a call"))
    return rows


def pruned_rows() -> list[Row]:
    """One row times a layer of 256 x 4096 in the NumPy reference, of which 2 % of the weights are left, and the dense product."""
    found = sparse_linear.measure_numpy(256, 4096, 0.02)
    against = "the dense matrix in NumPy"
    return [compared("numpy-pruned-linear-b1", found["sparse"], found["dense"], against, 1.0, unit="µs a call")]


def image_rows() -> list[Row]:
    """Image classifiers, batch 1 and 64, against onnxruntime's float model and its ``quantize_static``; files beside them."""
    networks = {
        "conv2": ("quaternion-conv2-cifar10", (4, 32, 32)),
        "conv2-real": ("real4-conv2-cifar10", (4, 32, 32)),
        "quaternion-lenet": ("quaternion-lenet300-mnist", (784,)),
    }
    rows = []
    for network, (checkpoint, shape) in networks.items():
        found, judged = convolution.measure(checkpoint, shape), network == "conv2"
        for batch, times in found.microseconds.items():
            for suffix, recipe, other, goal in (
                ("", "default", convolution.FLOAT, 1.5),
                ("-w7a8", "w7a8", convolution.FLOAT, 1.0),
                ("-quantize-static", "default", convolution.STATIC, None),
                ("-qlinear", convolution.QLINEAR, convolution.FLOAT, 1.0),
                ("-qlinear-quantize-static", convolution.QLINEAR, convolution.STATIC, None),
            ):
                if recipe not in times:
                    continue
                name, against = f"onnx-{network}-b{batch}{suffix}", f"onnxruntime, {other}"
                limit = goal if judged else None
                row = compared(name, times[recipe], times[other], against, limit, unit="µs a sample")
                rows.append(_with_files(row, found, recipe, other))
        numpy, times = f"numpy-{network}-b1", found.microseconds[1]
        against = f"onnxruntime, {convolution.FLOAT}"
        rows.append(
            compared(numpy, times[convolution.REFERENCE], times[convolution.FLOAT], against, None, unit="µs a sample")
        )
        for other, goal in ((convolution.STATIC, 0.27), (convolution.FLOAT, 0.07)):
            name, against = f"{network}-file-{other.replace('_', '-')}", f"the expanded network's file, {other}"
            limit = goal if judged else None
            rows.append(compared(name, found.bytes["default"], found.bytes[other], against, limit, unit="bytes"))
    return rows


def _with_files(row: Row, found: convolution.Measured, ours: str, other: str) -> Row:
    """The row with accuracy and file size of both sides."""
    percent = percentages(found.accuracy)
    return dataclasses.replace(
        row,
        ours_bytes=found.bytes[ours],
        other_bytes=found.bytes[other],
        ours_accuracy=percent.get(ours),
        other_accuracy=percent.get(other),
        images=found.images,
    )


def c_rows() -> list[Row]:
    """Generated C on this machine's fastest path: recurrent loops whole, compact quaternion products alone, an image classifier.

    Without a C compiler there are none; standard error says so.
    """
    try:
        compiler("host")
    except MissingRequirementError as error:
        print(f"c-…: left out, {error}", file=sys.stderr)
        return []
    default = load_recipe("default")
    rows = []
    for hidden in (170, 512):
        found, operator = measure_c_rnn(hidden), f"onnxruntime's {FLOAT}, ReLU"
        for name, suffix, goal in (
            ("u8", "", 0.15),
            ("u8-exact", "-u8-exact", None),
            ("s12-exact", "-s12-exact", None),
        ):
            rows.append(compared(f"c-rnn-h{hidden}{suffix}", found[name], found[FLOAT], operator, goal))
        if LITERT in found:
            rows.append(
                compared(f"c-rnn-h{hidden}-litert", found["u8"], found[LITERT], "the same integers in LiteRT", None)
            )
    for kind in ("GRU", "LSTM"):
        recipes = {"u8": default.changed(state_bits=8), "s12": default}
        found, operator = measure_c_gated(kind, 512, recipes), f"onnxruntime's float {kind}"
        for name, suffix in (("u8", ""), ("s12", "-s12")):
            rows.append(compared(f"c-{kind.lower()}-h512{suffix}", found[name], found[gated.FLOAT], operator, 0.2))
        if LITERT in found:
            against = "the same integers in LiteRT"
            rows.append(compared(f"c-{kind.lower()}-h512-litert", found["u8"], found[LITERT], against, None))
    for units, limit in ((1024, None), (4096, 0.5)):
        times = measure_quaternion(units)
        against = "the same kernel on the expanded matrix"
        rows.append(
            compared(
                f"c-quaternion-matvec-{units}", times["compact"], times["expanded"], against, limit, unit="µs a product"
            )
        )
    image = measure_network("quaternion-conv2-cifar10", (4, 32, 32)).microseconds
    for suffix, other, goal in (("", convolution.FLOAT, 0.5), ("-onnx", ONNX, None)):
        against = f"onnxruntime, {other}" if other == convolution.FLOAT else "the same integers in onnxruntime"
        rows.append(compared(f"c-conv2-b1{suffix}", image[C], image[other], against, goal, unit="µs a sample"))
    return rows


def instruction_rows() -> list[Row]:
    """Instructions a multiply-accumulate of the C kernel for 8-bit weights and activations, counted under emulation.

    A processor that this machine cannot emulate has no row; standard error says what is missing.
    """
    goals = {"a76": 0.15, "a72": 0.4, "m4": 1.5}
    rows = []
    for processor, target in PROCESSORS.items():
        lacking = missing(target)
        if lacking is not None:
            print(f"insn-mac-{processor}: left out, this machine has no {lacking}", file=sys.stderr)
            continue
        counted, products = measure_products(target)
        against = f"multiply-accumulates of a matrix of {SIZE} x {SIZE}"
        unit = "instructions"
        rows.append(compared(f"insn-mac-{processor}", counted, products, against, goals.get(processor), unit=unit))
    return rows


def command_rows() -> list[Row]:
    """Whole commands, in seconds."""
    help_times = [_seconds([sys.executable, "-m", "qdeploy", "--help"]) for _ in range(5)]
    rows = [Row("qdeploy-help", float(np.median(help_times)), None, "s", None, "", 0.3)]
    rows.append(Row("export-and-verify-784-steps", _export_and_verify(), None, "s", None, "", 15.0))
    return rows


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return round(time.perf_counter() - start, 3)


def _export_and_verify() -> float:
    """A 784-step network of 170 units on made samples, each command in a process of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npy"
        np.save(samples, np.random.default_rng(0).integers(0, 256, (32, 784, 1)).astype(np.float32) / 256)
        bundle = str(Path(folder) / "bundle")
        export = ["export", "--entry", "benchmarks.network:build", "--calibration", str(samples), "-o", bundle]
        return round(
            sum(_seconds([sys.executable, "-m", "qdeploy", *words]) for words in (export, ["verify", bundle])), 3
        )


def _table(rows: Sequence[Row]) -> list[str]:
    """All rows for people; under them the networks' accuracies and files, a line for each pair of contenders."""
    lines = [f"{'row':42} {'ours':>9} {'other':>9} {'ratio':>7} {'goal':>7}"]
    for row in rows:
        if row.ours is None:
            why = (row.absent or "").split(";")[0]
            lines.append(f"{row.name:42} {'-':>9} {'':>9} {'-':>7} {why}")
            continue
        value = row.ours if row.ratio is None else row.ratio
        other, ratio = (
            ("", "") if row.ratio is None or row.other is None else (f"{row.other:9.2f}", f"{row.ratio:7.2f}")
        )
        missed = row.goal is not None and value > row.goal
        goal = "" if row.goal is None else f"{row.goal:7.2f}{' missed' if missed else ''}"
        lines.append(f"{row.name:42} {row.ours:9.2f} {other:>9} {ratio:>7} {goal}".rstrip())
    networks = [row for row in rows if row.ours_bytes is not None]
    if networks:
        lines += ["", f"{'network':42} {'ratio':>7} {'accuracy':>9} {'against':>9} {'bytes':>11} {'against':>11}"]
    for row in networks:
        ours, other = ("" if value is None else f"{value:.2f} %" for value in (row.ours_accuracy, row.other_accuracy))
        lines.append(f"{row.name:42} {row.ratio:7.2f} {ours:>9} {other:>9} {row.ours_bytes:11,} {row.other_bytes:11,}")
    for images in dict.fromkeys(row.images for row in networks if row.images):
        absent = [row.name for row in networks if row.images == images and row.ours_accuracy is None]
        lines.append(
            f"accuracy left out of {len(absent)} rows: {images} (qdeploy doctor)" if absent else f"accuracy on {images}"
        )
    return lines


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/bench/report.json"))
    groups = {
        "loops": loop_rows,
        "gated": gated_rows,
        "fast": fast_rows,
        "products": product_rows,
        "pruned": pruned_rows,
        "images": image_rows,
        "c": c_rows,
        "litert": litert_rows,
        "instructions": instruction_rows,
        "commands": command_rows,
    }
    parser.add_argument(
        "--only", nargs="+", choices=groups, default=list(groups), help="groups of rows; all by default"
    )
    arguments = parser.parse_args()
    rows = [row for name in arguments.only for row in groups[name]()]
    output = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    for line in _table(rows):
        print(line)
    print(f"\nwritten: {output}")


if __name__ == "__main__":
    main()
