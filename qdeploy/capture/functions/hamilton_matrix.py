"""``qdeploy.float::HamiltonMatrix``: the real matrix of ``y = w ⊗ x``.

``r, i, j, k: float[m, n, *kernel]`` are the components of the weights of m output and n input quaternions, ``grouping``
says how inputs are ordered, and the result is ``float[4m, 4n, *kernel]``: the weight of a ``Linear`` or a ``Conv``.

``blocked`` inputs are [r…|i…|j…|k…] and the matrix is the block matrix ::

    L(w) = [[r, -i, -j, -k],
            [i,  r, -k,  j],
            [j,  k,  r, -i],
            [k, -j,  i,  r]]

``adjacent`` inputs are [r i j k | r i j k | …]: column ``4 q + d`` is column ``n d + q`` of the block matrix.
Outputs are blocked in both.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, GROUPINGS, OPSET

__all__ = ["HAMILTON_ROWS", "hamilton_matrix"]

# L(w) row by row, negated components with a minus sign.
HAMILTON_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("r", "-i", "-j", "-k"),
    ("i", "r", "-k", "j"),
    ("j", "k", "r", "-i"),
    ("k", "-j", "i", "r"),
)


def hamilton_matrix(grouping: str) -> FunctionProto:
    """The function ``HamiltonMatrix`` in its overload ``grouping``: ``blocked`` or ``adjacent``."""
    if grouping not in GROUPINGS:
        raise ValueError(f"grouping={grouping!r}: expected one of {', '.join(GROUPINGS)}")
    lines = [f"n{name} = Neg ({name})" for name in "ijk"]
    if grouping == "blocked":
        for index, row in enumerate(HAMILTON_ROWS):
            parts = ", ".join(part.replace("-", "n") for part in row)
            lines.append(f"row{index} = Concat <axis = 1> ({parts})")
        lines.append("matrix = Concat <axis = 0> (row0, row1, row2, row3)")
    else:
        # Rows of parts [m, n, 1, *kernel] are stacked to [4m, n, 4, *kernel], which read in order is [4m, 4n, *kernel].
        lines.append("last = Constant <value_ints = [2]> ()")
        lines.extend(f"{name}_1 = Unsqueeze ({name}, last)" for name in ("r", "i", "j", "k", "ni", "nj", "nk"))
        for index, row in enumerate(HAMILTON_ROWS):
            parts = ", ".join(part.replace("-", "n") + "_1" for part in row)
            lines.append(f"row{index} = Concat <axis = 2> ({parts})")
        lines.append("stacked = Concat <axis = 0> (row0, row1, row2, row3)")
        lines.append("kernel = Shape <start = 2> (r)")
        lines.append("channels = Constant <value_ints = [0, -1]> ()")
        lines.append("shape = Concat <axis = 0> (channels, kernel)")
        lines.append("matrix = Reshape (stacked, shape)")
    body = "\n".join(lines)
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{grouping}", opset_import: ["": {OPSET}]>
        HamiltonMatrix <grouping> (r, i, j, k) => (matrix)
        {{
            {body}
        }}""")
