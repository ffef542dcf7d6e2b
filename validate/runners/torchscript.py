"""TorchScript archives and live scripted modules."""

from __future__ import annotations

from xport.validate.runners.torch_base import TorchRunner


class TorchScriptRunner(TorchRunner):
    """Runs a TorchScript module in its interpreter."""

    runtime = "TorchScript"
