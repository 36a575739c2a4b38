"""``qdeploy.float::GateRows``: rows by part, then gate, as rows by gate.

``weight: float[P G n, K]``, or ``[P G n, C, *kernel]``, holds ``parts`` P parts of G gates of n rows each; the result has
the same rows by gate, then part, gate ``order[0]`` first. It stands between the Hamilton matrix of stacked gates and the
recurrent layer, or that of all groups and the convolution: there a gate is a group of output quaternions.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["gate_rows"]


def gate_rows() -> FunctionProto:
    """The function ``GateRows`` in its only overload, for any number of parts and gates."""
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", opset_import: ["": {OPSET}]>
        GateRows <parts, order> (weight) => (rows)
        {{
            gates = Constant <value_ints: ints = @order> ()
            part_count = Constant <value_int: int = @parts> ()
            rest = Constant <value_ints = [-1]> ()
            part_length = Reshape (part_count, rest)
            gate_length = Shape (gates)
            blocks_shape = Concat <axis = 0> (part_length, gate_length, rest)
            blocks = Reshape (weight, blocks_shape)
            by_gate = Transpose <perm = [1, 0, 2]> (blocks)
            ordered = Gather <axis = 0> (by_gate, gates)
            rows_shape = Shape (weight)
            rows = Reshape (ordered, rows_shape)
        }}""")
