"""Exits with 0 if every model of this TorchServe has a worker that is ready; runs inside the container.

``/ping`` answers before any worker is ready: the management API is asked instead, with the key from the server's
working folder.
"""

import json
import sys
import urllib.request
from pathlib import Path

MANAGEMENT = "http://127.0.0.1:8081"


def main(key_file: str, names: list[str]) -> int:
    """Ask for each model.

    Args:
        key_file: Where the server keeps its keys.
        names: The models.

    Returns:
        The exit code.
    """
    key = json.loads(Path(key_file).read_text())["management"]["key"]
    for name in names:
        request = urllib.request.Request(f"{MANAGEMENT}/models/{name}", headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            (model,) = json.load(answer)
        if not any(worker["status"] == "READY" for worker in model["workers"]):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
