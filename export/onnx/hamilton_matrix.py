"""Body of HamiltonMatrix: Neg and Concat, folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx.functions import Site, body, function

ROWS = (("r", "-i", "-j", "-k"), ("i", "r", "-k", "j"), ("j", "k", "r", "-i"), ("k", "-j", "i", "r"))


@body("HamiltonMatrix")
def hamilton_matrix(site: Site) -> onnx.FunctionProto:
    """Columns stand in blocks, or one quaternion's four side by side. Components come in four tensors, or (``4``) in one."""
    grouping = str(site.attributes["grouping"])
    kernel = site.constants["r"].shape[2:]
    stacked = "i" not in site.constants
    names = {part: f"part_{part}" if stacked else part for part in "rijk"}
    lines = [f"{', '.join(names.values())} = Split<axis = 0, num_outputs = 4>(r)"] if stacked else []
    for part in "ijk":
        lines.append(f"minus_{part} = Neg({names[part]})")
        names[f"-{part}"] = f"minus_{part}"
    if grouping == "blocked":
        lines += [f"row{n} = Concat<axis = 1>({', '.join(names[part] for part in row)})" for n, row in enumerate(ROWS)]
    else:
        # [out/4, in/4, 1, *kernel] four times side by side, then flat: the column of quaternion q, part c is 4 q + c.
        flat = ", ".join(["0", "-1", *map(str, kernel)])
        lines += ["last = Constant<value = int64[1] {2}>()"]
        lines += [f"flat = Constant<value = int64[{2 + len(kernel)}] {{{flat}}}>()"]
        for name in names.values():
            lines.append(f"{name}_u = Unsqueeze({name}, last)")
        for n, row in enumerate(ROWS):
            lines.append(f"row{n}_c = Concat<axis = 2>({', '.join(names[part] + '_u' for part in row)})")
            lines.append(f"row{n} = Reshape(row{n}_c, flat)")
    lines.append("weight = Concat<axis = 0>(row0, row1, row2, row3)")
    sized = grouping == "adjacent" and kernel
    words = [f"{grouping}4" if stacked else grouping, *(map(str, kernel) if sized else ())]
    return function("HamiltonMatrix", "_".join(words), lines)
