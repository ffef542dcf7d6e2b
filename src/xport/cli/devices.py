"""Which devices a framework sees; runs in a worker."""

from __future__ import annotations

from xport.runtimes import require


def devices(framework: str) -> list[str]:
    """The devices of a framework.

    Args:
        framework: ``torch``, ``onnxruntime`` or ``tensorflow``.

    Returns:
        What the framework calls them.

    Raises:
        MissingRuntimeError: If it is not installed or cannot be loaded.
    """
    module = require(framework)
    if framework == "torch":
        count = module.cuda.device_count() if module.cuda.is_available() else 0
        return ["cpu", *(f"cuda:{i} {module.cuda.get_device_name(i)}" for i in range(count))]
    if framework == "onnxruntime":
        return [name.removesuffix("ExecutionProvider") for name in module.get_available_providers()]
    return [device.name.removeprefix("/physical_device:") for device in module.config.list_physical_devices()]
