"""PyTorch in eager mode: live modules, models of the zoo, state dicts with their code, pickled modules."""

from __future__ import annotations

from xport.validate.runners.torch_base import TorchRunner


class PyTorchRunner(TorchRunner):
    """Runs a module as Python code."""

    runtime = "PyTorch"
