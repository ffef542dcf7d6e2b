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
pasted where there is one. Foreign exceptions are chained with ``raise … from error``. What each class says under *What
to do* is also the page of errors in the documentation.
"""

from __future__ import annotations

from typing import Any


class XportError(Exception):
    """The root of the tree: every error that xport raises on purpose.

    What to do: catch it to catch all of them; the last line of its text is the fix.

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
    """Wrong usage, or an input that cannot be read.

    What to do: compare the call with what ``xport COMMAND --help`` lists; the message names the option or key at fault.
    """

    exit_code = 2


class UnreadableModelError(UsageError):
    """The file is missing, empty, broken, or not a model.

    What to do: look at it with ``xport inspect MODEL``, copy or save it again, or name the right file.
    """


class UntrustedCodeError(UsageError):
    """Opening the file would run code that it carries.

    What to do: if you know where the file is from, allow it with ``--trust-pickle``; otherwise save its weights alone
    (a state dict, safetensors) or a format without code.
    """


class InputsError(UsageError):
    """Tensors that do not fit the signature.

    What to do: ``xport inspect MODEL`` shows names, dtypes and shapes; give all of the inputs, by these names.
    """


class DestinationError(UsageError):
    """The result cannot be written where it was asked for.

    What to do: name another ``--output``, make room, or replace what is there with ``--force``.
    """


class DeviceError(UsageError):
    """The device asked for is not there, or the runtime does not use it.

    What to do: ``xport doctor`` shows devices and what each runtime sees; nothing is moved to another device unasked.
    """


class MissingRuntimeError(XportError):
    """A package that this work needs is not installed.

    What to do: run the command of the message; ``xport doctor`` lists everything that is missing.
    """


class ConversionError(XportError):
    """A route was tried and broke.

    What to do: ``-v`` shows what the framework said; ``xport formats`` lists other routes, which ``--via`` takes.
    """


class UnsupportedError(ConversionError):
    """Operators, attributes or types that a target cannot express exactly; the input is at fault, not the work.

    What to do: take another target, or write the operators named in the message in another way; there is no
    approximation to switch on.
    """

    exit_code = 2


class WorkerError(XportError):
    """A child process crashed, hung or was killed.

    What to do: ``-v`` shows its last words; one that was killed needs more memory than there is, one that took too long
    a longer ``--timeout``, where the command has one.

    Attributes:
        how: ``timeout``, ``killed`` (SIGKILL, as the system does when memory runs out) or ``crashed``; empty if the
            process lives and the work itself raised.
    """

    how = ""


class ServingError(XportError):
    """A request that a server refused or could not answer.

    What to do: the text names the tensor or the limit; ``xport probe URL`` shows what the server takes.

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
    """The numbers or the interface of a result differ from the source's.

    What to do: ``xport bisect SOURCE RESULT`` finds where it begins (``--keep-failed`` keeps a result to look at).
    The text says how far off the worst output is.
    """

    exit_code = 3


class XportWarning(UserWarning):
    """Something a user should know that does not stop the work.

    What to do: read it; `warnings.simplefilter("error", xport.XportWarning)` makes it stop the work.
    """
