"""Names of nodes and tensors as identifiers of C."""

import pytest

from qdeploy.export.c.kernels import identifiers, kernel_names, kernel_text
from qdeploy.export.c.names import Names, identifier


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hidden/state:0", "hidden_state_0"),
        ("1x", "n1x"),
        ("", "x"),
        ("int", "int_"),
        ("matvec_u8_w8", "matvec_u8_w8_"),
        ("UNROLLED", "UNROLLED_"),
        ("GROUPS", "GROUPS_"),
        ("signed_bytes", "signed_bytes_"),
    ],
)
def test_a_name_is_one_that_c_allows_and_no_kernel_has(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_every_kernel_that_is_a_function_keeps_its_name() -> None:
    functions = {name for name in kernel_names() if f" {name}(" in kernel_text(name)}
    assert functions <= identifiers()
    assert len(functions) > 30


def test_no_name_is_given_twice() -> None:
    names = Names()
    assert [names.new("a b"), names.new("a_b"), names.new("a-b")] == ["a_b", "a_b_2", "a_b_3"]
