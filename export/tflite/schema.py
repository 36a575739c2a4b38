"""The numbers of the TensorFlow Lite schema that our files use: element types, operators, their option tables.

Slots of tables and members of unions are append-only in the schema, so the numbers hold for every runtime. Source:
``tensorflow/lite/schema/schema.fbs``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ELEMENT_TYPES", "IDENTIFIER", "METADATA", "OPERATORS", "SCHEMA_VERSION", "OperatorSchema"]

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3

METADATA = "qdeploy"
"""The name of the metadata that say which version wrote a file, and of which model.onnx."""

ELEMENT_TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}


@dataclass(frozen=True)
class OperatorSchema:
    """A builtin operator.

    Attributes:
        code: its number.
        version: the one that is written: the lowest that has the types in use.
        options: the member of the union BuiltinOptions; 0 for none.
        fields: of its option table: slot and type by the name under which :meth:`Subgraph.add` takes them.
    """

    code: int
    version: int = 1
    options: int = 0
    fields: tuple[tuple[str, int, str], ...] = ()


OPERATORS = {
    "ADD": OperatorSchema(0, 1, 11, (("fused_activation", 0, "int8"),)),
    "BATCH_MATMUL": OperatorSchema(126, 3, 101, (("adj_x", 0, "bool"), ("adj_y", 1, "bool"))),
    "CAST": OperatorSchema(53, 1, 37, (("in_type", 0, "int8"), ("out_type", 1, "int8"))),
    "CONCATENATION": OperatorSchema(2, 1, 10, (("axis", 0, "int32"),)),
    "CONV_2D": OperatorSchema(
        3,
        3,
        1,
        (
            ("padding", 0, "int8"),
            ("stride_w", 1, "int32"),
            ("stride_h", 2, "int32"),
            ("fused_activation", 3, "int8"),
            ("dilation_w", 4, "int32"),
            ("dilation_h", 5, "int32"),
        ),
    ),
    "DEPTHWISE_CONV_2D": OperatorSchema(
        4,
        3,
        2,
        (
            ("padding", 0, "int8"),
            ("stride_w", 1, "int32"),
            ("stride_h", 2, "int32"),
            ("depth_multiplier", 3, "int32"),
            ("fused_activation", 4, "int8"),
            ("dilation_w", 5, "int32"),
            ("dilation_h", 6, "int32"),
        ),
    ),
    "DYNAMIC_UPDATE_SLICE": OperatorSchema(151, 1, 117),
    "FILL": OperatorSchema(94, 1, 74),
    "FLOOR_DIV": OperatorSchema(90, 2, 65),
    "FULLY_CONNECTED": OperatorSchema(9, 5, 8, (("fused_activation", 0, "int8"), ("keep_num_dims", 2, "bool"))),
    "GATHER": OperatorSchema(36, 1, 23, (("axis", 0, "int32"), ("batch_dims", 1, "int32"))),
    "LESS": OperatorSchema(58, 1, 41),
    "LOGISTIC": OperatorSchema(14),
    "MAXIMUM": OperatorSchema(55, 1, 39),
    "MAX_POOL_2D": OperatorSchema(
        17,
        2,
        5,
        (
            ("padding", 0, "int8"),
            ("stride_w", 1, "int32"),
            ("stride_h", 2, "int32"),
            ("filter_width", 3, "int32"),
            ("filter_height", 4, "int32"),
            ("fused_activation", 5, "int8"),
        ),
    ),
    "MINIMUM": OperatorSchema(57, 1, 39),
    "MUL": OperatorSchema(18, 1, 21),
    "PAD": OperatorSchema(34, 2, 22),
    "REDUCE_MAX": OperatorSchema(82, 1, 27, (("keep_dims", 0, "bool"),)),
    "RESHAPE": OperatorSchema(22, 1, 17),
    "REVERSE_V2": OperatorSchema(105, 1, 81),
    "RIGHT_SHIFT": OperatorSchema(161, 1, 126),
    "SHAPE": OperatorSchema(77, 1, 55, (("out_type", 0, "int8"),)),
    "SLICE": OperatorSchema(65, 1, 48),
    "SPLIT_V": OperatorSchema(102, 1, 79, (("count", 0, "int32"),)),
    "SUB": OperatorSchema(41, 1, 28, (("fused_activation", 0, "int8"),)),
    "SUM": OperatorSchema(74, 1, 27, (("keep_dims", 0, "bool"),)),
    "TANH": OperatorSchema(28),
    "TRANSPOSE": OperatorSchema(39, 1, 26),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": OperatorSchema(
        44, 1, 71, (("fused_activation", 0, "int8"), ("time_major", 3, "bool"))
    ),
    "WHILE": OperatorSchema(119, 1, 93, (("cond", 0, "int32"), ("body", 1, "int32"))),
}
