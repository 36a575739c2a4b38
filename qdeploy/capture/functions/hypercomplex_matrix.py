"""``qdeploy.float::HypercomplexMatrix``: the real matrix of a layer over any algebra.

``W = sum_i kron(a_i, s_i)`` of ``a: float[d, P, U]``, the algebra, and ``s: float[d, Q, V, *kernel]``, the components, is
``float[P Q, U V, *kernel]``: the weight of a ``Linear`` or a ``Conv``. Row ``Q p + q`` and column ``V u + v`` hold
``sum_i a[i, p, u] s[i, q, v]`` where channels are ``blocked``; where they are ``adjacent``, the row is ``P q + p``
(``output_grouping``) or the column ``U v + u`` (``grouping``). Source: Zhang et al., "Beyond fully-connected layers with
quaternions", arXiv 2102.08597, equation 3.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, GROUPINGS, OPSET

__all__ = ["hypercomplex_matrix", "hypercomplex_overload"]


def hypercomplex_overload(grouping: str, output_grouping: str) -> str:
    """The overload of the inputs' and the outputs' order."""
    return f"{grouping}_to_{output_grouping}"


def hypercomplex_matrix(grouping: str, output_grouping: str) -> FunctionProto:
    """The function ``HypercomplexMatrix`` for one order of the inputs' channels and one of the outputs'."""
    for value in (grouping, output_grouping):
        if value not in GROUPINGS:
            raise ValueError(f"grouping={value!r}: expected one of {', '.join(GROUPINGS)}")
    rows = "0, 2" if output_grouping == "blocked" else "2, 0"
    columns = "1, 3" if grouping == "blocked" else "3, 1"
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{hypercomplex_overload(grouping, output_grouping)}",
         opset_import: ["": {OPSET}]>
        HypercomplexMatrix <grouping, output_grouping> (a, s) => (matrix)
        {{
            flat = Constant <value_ints = [0, -1]> ()
            a_rows = Reshape (a, flat)
            a_columns = Transpose <perm = [1, 0]> (a_rows)
            s_rows = Reshape (s, flat)
            sums = MatMul (a_columns, s_rows)
            pu = Shape <start = 1> (a)
            qv = Shape <start = 1, end = 3> (s)
            rest = Constant <value_ints = [-1]> ()
            block_shape = Concat <axis = 0> (pu, qv, rest)
            blocks = Reshape (sums, block_shape)
            ordered = Transpose <perm = [{rows}, {columns}, 4]> (blocks)
            size = Mul (pu, qv)
            kernel = Shape <start = 3> (s)
            shape = Concat <axis = 0> (size, kernel)
            matrix = Reshape (ordered, shape)
        }}""")
