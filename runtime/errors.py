"""The exceptions of qdeploy, and the exit code that each one gives on the command line.

::

    QdeployError
    ├── CheckFailedError            1   a check ran and found a difference or a drop
    ├── InvalidInputError           2   an argument, an option or an array is not usable
    │   └── InvalidFileError        2   a file is truncated, corrupted, of another kind or unsafe
    ├── UnsupportedModelError       3   a layer, an activation or an arithmetic that qdeploy does not do
    │   └── AccumulatorOverflowError 3  a 32-bit accumulator cannot be proven sufficient
    ├── MissingRequirementError     4   a package or a program that this machine lacks
    │   ├── MissingDataError        4   a data set that is not on this machine
    │   └── BuildError              4   a C compiler that did not build what it was given
    └── ContractError               1   an integer operator met a value that its contract forbids

Every message says what was found, where, what was expected and what to do next.
"""

from __future__ import annotations

__all__ = [
    "AccumulatorOverflowError",
    "BuildError",
    "CheckFailedError",
    "ContractError",
    "InvalidFileError",
    "InvalidInputError",
    "MissingDataError",
    "MissingRequirementError",
    "QdeployError",
    "UnsupportedModelError",
]


class QdeployError(Exception):
    """Base of all errors that qdeploy raises on purpose; ``exit_code`` is the command line's."""

    exit_code = 1


class CheckFailedError(QdeployError):
    """A verification or validation ran to its end and did not pass."""

    exit_code = 1


class ContractError(QdeployError):
    """An operator's contract was violated while it ran (overflow, range, shape, dtype), with the node's name."""

    exit_code = 1


class InvalidInputError(QdeployError, ValueError):
    """An argument, option or array cannot be used."""

    exit_code = 2


class InvalidFileError(InvalidInputError):
    """A file is truncated, corrupted, of another kind, or would be unsafe to read."""

    exit_code = 2


class UnsupportedModelError(QdeployError):
    """The model holds something that qdeploy does not support; the message names it and the nearest way."""

    exit_code = 3


class AccumulatorOverflowError(UnsupportedModelError):
    """No proof exists that a 32-bit accumulator of the model cannot overflow."""

    exit_code = 3


class MissingRequirementError(QdeployError):
    """A package, program or machine feature is missing; the message says how to get it."""

    exit_code = 4


class MissingDataError(MissingRequirementError):
    """A named data set is not on this machine; the message says where its files belong."""

    exit_code = 4


class BuildError(MissingRequirementError):
    """A C compiler refused the sources that it was given, or took too long; the message holds its own words."""

    exit_code = 4
