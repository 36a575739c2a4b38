"""The table of rounding rules: what the runtime of this machine computes, and what is claimed of whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdeploy.runtime import litert_rules
from qdeploy.runtime.litert_interpreter import RESOLVERS, interpreter_module, version
from qdeploy.runtime.litert_rules import (
    ARM32,
    ARM64,
    CONVOLUTION,
    DEPTHWISE,
    FULLY_CONNECTED,
    KERNELS,
    PROCESSORS,
    X86_AVX,
    X86_SSE,
    KernelUse,
    claim,
    kernel_rule,
)
from qdeploy.runtime.rounding import RULES
from tests.rounding.layers import layers
from tests.rounding.probe import computed

LEAST = 100_000


@pytest.mark.litert
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_this_machines_kernels_round_as_the_table_says(resolver: str) -> None:
    package, installed = version().split()
    module, where = interpreter_module(), litert_rules.processor()
    if where is None:
        pytest.skip("this processor is not in the table")
    compared = dict.fromkeys((FULLY_CONNECTED, CONVOLUTION, DEPTHWISE), 0)
    for layer in layers(runs=3):
        (rule,) = kernel_rule(package, installed, resolver, where, layer.use)
        if rule is None:
            continue
        found = computed(module, layer.content, layer.x, resolver)
        assert (found == layer.expected(rule)).all(), (layer.use, rule)
        compared[layer.use.operator] += found.size
    assert sum(compared.values()) >= LEAST


def test_the_layers_tell_every_rule_from_every_other() -> None:
    differing = {(one, other): 0 for one in RULES for other in RULES if one < other}
    for layer in layers(runs=1):
        results = {rule: layer.expected(rule) for rule in RULES}
        for one, other in differing:
            differing[one, other] += int(np.count_nonzero(results[one] != results[other]))
    assert min(differing.values()) > 0, differing


def test_every_case_has_one_row_of_the_table() -> None:
    for package, (first, last) in litert_rules.MEASURED.items():
        for resolver in RESOLVERS:
            for where in PROCESSORS[package]:
                for operator in (FULLY_CONNECTED, CONVOLUTION, DEPTHWISE):
                    for rows in (1, 8):
                        use = KernelUse("layer", operator, "", outputs=64, inputs=64, rows=rows)
                        for minor in {first, last, (1, 2), (1, 3)}:
                            if first <= minor <= last:
                                found = kernel_rule(package, f"{minor[0]}.{minor[1]}.0", resolver, where, use)
                                assert len(found) == 1
    assert {kernel.rule for kernel in KERNELS} <= {*RULES, None}


def test_half_even_is_claimed_of_ai_edge_litert_s_default_alone() -> None:
    uses = (KernelUse("dense", FULLY_CONNECTED, "half_even", 10, 64, 1), KernelUse("conv", DEPTHWISE, "half_even"))
    for where in (X86_AVX, X86_SSE, ARM64):
        assert claim(uses, "ai-edge-litert", "2.3.0", "default", where) is None
        for package, number in (("ai-edge-litert", "2.3.0"), ("tflite-runtime", "2.14.0")):
            for resolver in RESOLVERS:
                if (package, resolver) != ("ai-edge-litert", "default"):
                    assert "dense names half_even" in str(claim(uses, package, number, resolver, where))


def test_gemmlowp_is_claimed_of_every_reference_kernel_of_tflite_runtime() -> None:
    dense = KernelUse("dense", FULLY_CONNECTED, "gemmlowp", 10, 64, 1)
    conv = KernelUse("conv", CONVOLUTION, "gemmlowp")
    for where in (X86_AVX, X86_SSE, ARM64):
        assert claim((dense, conv), "tflite-runtime", "2.14.0", "reference", where) is None
        assert claim((conv,), "ai-edge-litert", "2.3.0", "reference", where) is None
        assert "by half_away" in str(claim((dense,), "ai-edge-litert", "2.3.0", "reference", where))
        assert claim((dense,), "ai-edge-litert", "1.2.0", "reference", where) is None
    assert claim((conv,), "tflite-runtime", "2.14.0", "default", ARM64) is None
    assert "by double_half_up" in str(claim((dense,), "tflite-runtime", "2.14.0", "default", ARM64))
    assert claim((conv,), "tflite-runtime", "2.14.0", "default", ARM32) is None
    assert "was not measured" in str(claim((conv,), "ai-edge-litert", "2.3.0", "reference", ARM32))
    # A sequence may have one step or many: both kernels would have to agree.
    steps = KernelUse("dense", FULLY_CONNECTED, "gemmlowp", 10, 64, None)
    assert "by double_half_up" in str(claim((steps,), "tflite-runtime", "2.14.0", "default", ARM64))
    few = KernelUse("dense", FULLY_CONNECTED, "gemmlowp", 3, 64, None)
    assert claim((few,), "tflite-runtime", "2.14.0", "default", ARM64) is None


def test_what_was_not_measured_is_not_claimed() -> None:
    uses = (KernelUse("dense", FULLY_CONNECTED, "half_even", 10, 64, 1),)
    assert "was not measured" in str(claim(uses, "ai-edge-litert", "9.0.0", "default", X86_AVX))
    assert "was not measured" in str(claim(uses, "ai-edge-litert", "nightly", "default", X86_AVX))
    assert "were not measured on this processor" in str(claim(uses, "ai-edge-litert", "2.3.0", "default", None))
    mixed = (KernelUse("conv", DEPTHWISE, "gemmlowp"),)
    assert "is not one rule" in str(claim(mixed, "ai-edge-litert", "2.3.0", "plain", X86_AVX))
    assert claim((), "ai-edge-litert", "9.0.0", "default", None) is None


PAGE = Path(__file__).parents[2] / "docs" / "litert_kernels.md"


def table_lines() -> list[str]:
    """The table as the page on LiteRT has it."""
    lines = []
    for kernel in KERNELS:
        first, last = kernel.versions or litert_rules.MEASURED[kernel.package]
        numbers = [".".join(map(str, number)) for number in dict.fromkeys((first, last))]
        operators = ", ".join(kernel.operators)
        if kernel.one_row is not None:
            operators += " (one row)" if kernel.one_row else " (other rows)"
        where = "all" if kernel.processors == PROCESSORS[kernel.package] else ", ".join(kernel.processors)
        rule = f"`{kernel.rule}`" if kernel.rule else "several"
        kernels = ", ".join(kernel.resolvers)
        lines.append(f"| {kernel.package} {' to '.join(numbers)} | {kernels} | {operators} | {where} | {rule} |")
    return lines


def test_the_page_has_the_table() -> None:
    section = PAGE.read_text().partition("## Rounding rules")[2].partition("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith(("| ai-edge-litert", "| tflite-runtime"))]
    assert found == table_lines()
    assert all(f"| `{rule}` |" in section for rule in RULES)
