"""Body of HamiltonMatrix: Neg and Concat, folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx.functions import Site, body, function

ROWS = (("r", "ni", "nj", "nk"), ("i", "r", "nk", "j"), ("j", "k", "r", "ni"), ("k", "nj", "i", "r"))


@body("HamiltonMatrix")
def hamilton_matrix(site: Site) -> onnx.FunctionProto:
    """Columns stand in blocks, or one quaternion's four side by side."""
    grouping = str(site.attributes["grouping"])
    kernel = site.constants["r"].shape[2:]
    lines = [f"n{component} = Neg({component})" for component in "ijk"]
    if grouping == "blocked":
        lines += [f"row{n} = Concat<axis = 1>({', '.join(row)})" for n, row in enumerate(ROWS)]
    else:
        # [out/4, in/4, 1, *kernel] four times side by side, then flat: the column of quaternion q, part c is 4 q + c.
        flat = ", ".join(["0", "-1", *map(str, kernel)])
        lines += ["last = Constant<value = int64[1] {2}>()"]
        lines += [f"flat = Constant<value = int64[{2 + len(kernel)}] {{{flat}}}>()"]
        for name in ("r", "i", "j", "k", "ni", "nj", "nk"):
            lines.append(f"{name}_u = Unsqueeze({name}, last)")
        for n, row in enumerate(ROWS):
            lines.append(f"row{n}_c = Concat<axis = 2>({', '.join(name + '_u' for name in row)})")
            lines.append(f"row{n} = Reshape(row{n}_c, flat)")
    lines.append("weight = Concat<axis = 0>(row0, row1, row2, row3)")
    sized = grouping == "adjacent" and kernel
    return function("HamiltonMatrix", "_".join([grouping, *map(str, kernel)]) if sized else grouping, lines)
