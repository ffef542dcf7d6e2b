"""Packages that are also functions: ``xport.convert`` is a package, and ``xport.convert(…)`` converts.

A module's class may be replaced by a subclass
(https://docs.python.org/3/reference/datamodel.html#module.__class__); giving that subclass ``__call__`` makes
the module callable whether it was imported as a module or taken as an attribute of ``xport``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that hands a call to one of its functions, imported at the first call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; its own docstring says what it takes."""
        module, _, name = self.__dict__["_callable_function"].partition(":")
        return getattr(importlib.import_module(module), name)(*args, **kwargs)


def make_callable(name: str, function: str) -> None:
    """Make a module callable.

    Args:
        name: The module's ``__name__``.
        function: ``package.module:function`` that a call goes to.
    """
    module = sys.modules[name]
    module.__dict__["_callable_function"] = function
    module.__class__ = CallableModule
