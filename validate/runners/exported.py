"""``torch.export`` programs (``.pt2``)."""

from __future__ import annotations

from typing import Any

from xport.validate.runners.torch_base import TorchRunner


class ExportedRunner(TorchRunner):
    """Runs an exported program's graph."""

    runtime = "torch.export"

    def _placed(self, module: Any) -> Any:
        if self.device == "cuda":
            # Devices are written into the graph; moving the weights alone would leave constants behind.
            from torch.export.passes import move_to_device_pass

            from xport.convert.torch_exported import FlatProgram
            from xport.convert.torch_loading import load_exported

            return FlatProgram(move_to_device_pass(load_exported(self.source), self.device))
        return module
