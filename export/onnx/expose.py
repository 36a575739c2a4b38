"""A copy of an integer model that shows every tensor between its layers."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx.attach import attach_bodies, sites
from qdeploy.runtime.ops import DOMAIN, OPERATORS, RECURRENT, WEIGHT_OPERATORS, operator_name


def expose(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns ``model`` with every node's result among the graph's outputs, all steps of all states included.

    A recurrent node that drops its states gets them back, and with them the body that emits every step.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    present = {value.name for value in shown.graph.output}
    for node in shown.graph.node:
        if node.domain == DOMAIN and operator_name(node.op_type) in RECURRENT and not node.output[0]:
            node.output[0] = f"{node.name}_all_states"
    # Element types are known once every node was visited.
    types: dict[str, int] = {}
    for site in sites(shown):
        if operator_name(site.node.op_type) in WEIGHT_OPERATORS:
            continue
        dtype = int(site.attributes.get("dtype", site.dtypes.get("entries", site.dtypes.get("x", 0))))
        outputs = OPERATORS[operator_name(site.node.op_type)].outputs
        types.update(
            {
                name: onnx.TensorProto.INT16 if output == "y_c" else dtype
                for name, output in zip(site.node.output, outputs, strict=False)
                if name
            }
        )
    known = {value.name: value.type.tensor_type.elem_type for value in shown.graph.input}
    for node in shown.graph.node:
        for name in node.output:
            if name in types:
                known[name] = types[name]
            elif node.domain != DOMAIN and node.input and node.input[0] in known:
                known[name] = known[node.input[0]]
            else:
                continue
            if name not in present:
                shown.graph.output.append(onnx.helper.make_tensor_value_info(name, known[name], None))
                present.add(name)
    return attach_bodies(shown)
