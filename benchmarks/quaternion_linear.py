"""The Hamilton product with 8 multiplications beside the whole matrix, one thread: in NumPy, and in onnxruntime.

``python -m benchmarks.quaternion_linear`` prints both tables of docs/fast_product.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

from benchmarks.loops import one_thread_session
from qdeploy.runtime.exact_product import eight_products_are_faster
from qdeploy.runtime.hamilton_product import HamiltonProduct
from qdeploy.runtime.numeric import exact_matmul, product_bound, product_type
from qdeploy.runtime.ops import OPERATORS, Node

SIZES = (
    (512, 512),
    (1024, 512),
    (1024, 1024),
    (2048, 2048),
    (256, 4096),
    (256, 16384),
    (64, 16384),
    (64, 576),
    (256, 2304),
)
ROWS = (1, 4, 16, 64, 256, 1024)
SECONDS = 0.25


def medians(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median microseconds of processor time of each call, in turns, over about ``SECONDS``; the first turn does not count.

    In each turn a call is made twice and the second one counts, as a program that does nothing else would see it: the others
    have left little of its weights in the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.thread_time() + SECONDS
    turn = 0
    while turn < 5 or (time.thread_time() < end and turn < 200):
        for name, call in calls.items():
            call()
            start = time.thread_time()
            call()
            if turn:
                times[name].append(time.thread_time() - start)
        turn += 1
    return {name: float(np.median(found)) * 1e6 for name, found in times.items()}


def components(outputs: int, inputs: int) -> NDArray[np.int8]:
    """Weights of 7 bits, ``[4, outputs/4, inputs/4]``, normal as trained ones are."""
    drawn = np.random.default_rng(outputs).standard_normal((4, outputs // 4, inputs // 4))
    return np.clip(np.rint(drawn * 16), -63, 63).astype(np.int8)


def whole(parts: NDArray[np.int8]) -> NDArray[np.int8]:
    """The real matrix of components."""
    (matrix,) = OPERATORS["HamiltonMatrix"].meaning(Node("matrix"), *parts, grouping="blocked")
    return matrix


def measure_numpy(outputs: int, inputs: int, rows: int) -> dict[str, float]:
    """Median microseconds of ``eight`` products and of the ``whole`` matrix, uint8 inputs with zero point 0."""
    matrix = whole(components(outputs, inputs))
    product = HamiltonProduct.of(matrix, 0, 255)
    if product is None:
        message = f"no eight products of [{outputs}, {inputs}]"
        raise RuntimeError(message)
    bound = product_bound(matrix, 255)
    transposed = np.ascontiguousarray(matrix.T.astype(product_type(bound)))
    x = np.random.default_rng(rows).integers(0, 256, (rows, inputs)).astype(np.int32)
    if (product(x) != exact_matmul(x, transposed, bound)).any():
        message = f"eight products of [{outputs}, {inputs}] differ from the whole matrix"
        raise RuntimeError(message)
    return medians({"eight": lambda: product(x), "whole": lambda: exact_matmul(x, transposed, bound)})


WHOLE = """<ir_version: 8, opset_import: ["" : 18]> g (uint8[b, k] x) => (int32[b, n] y) { y = MatMulInteger(x, w) }"""

EIGHT = """<ir_version: 8, opset_import: ["" : 18]> g (uint8[b, k] x) => (int32[b, n] y)
{
  w, x1, y1, z1 = Split <axis = 1, num_outputs = 4> (x)
  wx = Add(w, x1)
  yz = Add(y1, z1)
  xy = Add(x1, y1)
  wz = Add(w, z1)
  shifted_y = Add(y1, middle)
  shifted_w = Add(w, middle)
  shifted_x = Add(x1, middle)
  y_z = Sub(shifted_y, z1)
  w_x = Sub(shifted_w, x1)
  x_y = Sub(shifted_x, y1)
  w_z = Sub(shifted_w, z1)
  a = MatMulInteger(wx, f0, none, zero)
  b0 = MatMulInteger(y_z, f1, middle, zero)
  c = MatMulInteger(yz, f2, none, zero)
  d = MatMulInteger(w_x, f3, middle, zero)
  e = MatMulInteger(xy, f4, none, zero)
  f = MatMulInteger(x_y, f5, middle, zero)
  g0 = MatMulInteger(w_z, f6, middle, zero)
  h = MatMulInteger(wz, f7, none, zero)
  ef = Add(e, f)
  gh = Add(g0, h)
  e_f = Sub(e, f)
  g_h = Sub(g0, h)
  rw = Sub(gh, ef)
  rx = Add(ef, gh)
  ry = Add(e_f, g_h)
  rz = Sub(e_f, g_h)
  hw = Div(rw, two)
  hx = Div(rx, two)
  hy = Div(ry, two)
  hz = Div(rz, two)
  ow = Add(b0, hw)
  ox = Sub(a, hx)
  oy = Add(c, hy)
  oz = Add(d, hz)
  y = Concat <axis = 1> (ow, ox, oy, oz)
}"""
"""Activations of 7 bits, so that sums of two fit 8; sums of two weights reach 126, so that only u8 x u8 is exact everywhere."""


def measure_onnxruntime(outputs: int, inputs: int, rows: int) -> dict[str, float]:
    """Median microseconds of ``eight`` u8 x u8 products and of one u8 x s8 product with the ``whole`` matrix."""
    parts = components(outputs, inputs)
    r, i, j, k = (part.T.astype(np.int16) for part in parts)
    sums = [r + i, k - j, r - i, j + k, i + k, i - k, r + j, r - j]
    factors: dict[str, NDArray[Any]] = {f"f{place}": (array + 128).astype(np.uint8) for place, array in enumerate(sums)}
    scalars = {"none": np.uint8(0), "middle": np.uint8(127), "zero": np.uint8(128), "two": np.int32(2)}
    factors |= {name: np.asarray(value) for name, value in scalars.items()}
    sessions = {
        "eight": _session(EIGHT, factors),
        "whole": _session(WHOLE, {"w": np.ascontiguousarray(whole(parts).T)}),
    }
    x = np.random.default_rng(rows).integers(0, 128, (rows, inputs)).astype(np.uint8)
    found = [session.run(None, {"x": x})[0] for session in sessions.values()]
    if (found[0] != found[1]).any():
        message = f"eight products of [{outputs}, {inputs}] differ from the whole matrix in onnxruntime"
        raise RuntimeError(message)
    return medians({name: lambda s=session: s.run(None, {"x": x}) for name, session in sessions.items()})  # type: ignore[misc]


def _session(text: str, tensors: Mapping[str, NDArray[Any]]) -> Any:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in tensors.items())
    return one_thread_session(model)


def main() -> None:
    """Prints times of eight products over those of the whole matrix; what the reference's rule takes has a star."""
    for name, measure in (("numpy", measure_numpy), ("onnxruntime", measure_onnxruntime)):
        print(f"{name:16}" + "".join(f"{f'batch {rows}':>12}" for rows in ROWS))
        for outputs, inputs in SIZES:
            cells = []
            for rows in ROWS:
                found = measure(outputs, inputs, rows)
                taken = "*" if name == "numpy" and eight_products_are_faster(rows, outputs, inputs) else " "
                cells.append(f"{found['eight'] / found['whole']:11.2f}{taken}")
            print(f"{f'{outputs} x {inputs}':16}" + "".join(cells), flush=True)
        print()


if __name__ == "__main__":
    main()
