"""Every error and warning that xport raises on purpose.

    Exception
    └── XportError                    exit code 1: the work failed
        ├── UsageError                exit code 2: wrong usage or unreadable input
        │   ├── UnreadableModelError  the file is missing, broken, or not a model
        │   ├── UntrustedCodeError    opening the file would run code that it carries
        │   ├── InputsError           tensors that do not fit the signature
        │   ├── DestinationError      the result cannot be written where it was asked for
        │   └── DeviceError           the device asked for is not there, or the runtime does not use it
        ├── MissingRuntimeError       a package that this work needs is not installed
        ├── ConversionError           a route was tried and broke
        │   └── UnsupportedError      exit code 2: what a target cannot express exactly
        ├── WorkerError               a child process crashed, hung or was killed
        ├── ServingError              a request that a server refused or could not answer
        └── ParityError               exit code 3: the numbers or the interface changed
    UserWarning
    └── XportWarning

A message states what was expected and what was found; ``fix`` states what to do, with a command that can be
pasted where there is one. Foreign exceptions are chained with ``raise … from error``.
"""

from __future__ import annotations

from typing import Any


class XportError(Exception):
    """The root of the tree.

    Attributes:
        message: What was expected and what was found.
        fix: What to do about it; empty only where nobody can do anything.
        exit_code: What the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n{self.fix}" if self.fix else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders; the default would lose ``fix``.
        return (type(self), (self.message, self.fix))


class UsageError(XportError):
    """Wrong usage, or an input that cannot be read."""

    exit_code = 2


class UnreadableModelError(UsageError):
    """The file is missing, empty, broken, or not a model."""


class UntrustedCodeError(UsageError):
    """Opening the file would run code that it carries."""


class InputsError(UsageError):
    """Tensors that do not fit the signature."""


class DestinationError(UsageError):
    """The result cannot be written where it was asked for."""


class DeviceError(UsageError):
    """The device asked for is not there, or the runtime does not use it."""


class MissingRuntimeError(XportError):
    """A package that this work needs is not installed."""


class ConversionError(XportError):
    """A route was tried and broke."""


class UnsupportedError(ConversionError):
    """Operators, attributes or types that a target cannot express exactly; the input is at fault, not the work."""

    exit_code = 2


class WorkerError(XportError):
    """A child process crashed, hung or was killed.

    Attributes:
        how: ``timeout``, ``killed`` (SIGKILL, as the system does when memory runs out) or ``crashed``; empty if the
            process lives and the work itself raised.
    """

    how = ""


class ServingError(XportError):
    """A request that a server refused or could not answer.

    Attributes:
        code: The canonical name of the status (``INVALID_ARGUMENT``, ``NOT_FOUND``, …); `xport.serve.protocols.status`
            says what each protocol makes of it.
    """

    def __init__(self, message: str, fix: str = "", *, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message, fix)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return (_serving_error, (self.message, self.fix, self.code))


def _serving_error(message: str, fix: str, code: str) -> ServingError:
    return ServingError(message, fix, code=code)


class ParityError(XportError):
    """The numbers or the interface of a result differ from the source's."""

    exit_code = 3


class XportWarning(UserWarning):
    """Something a user should know that does not stop the work."""
