"""Runs a command without any network and tells whether it tried to reach one: ``offline.py [--loopback] COMMAND …``.

In a network namespace of its own (``unshare -n``) the kernel counts every packet that finds no route: names that are
looked up and addresses that are connected to, by whatever language. The last line of stderr is ``ATTEMPTS n``.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
from pathlib import Path

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def attempts() -> int:
    """How many packets found no route, or were dropped on their way out."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    tables = zip(lines[::2], lines[1::2], strict=True)
    names, values = next((n.split(), v.split()) for n, v in tables if n.startswith("Ip:"))
    counts = dict(zip(names, values, strict=True))
    return int(counts["OutNoRoutes"]) + int(counts["OutDiscards"])


def loopback_up() -> None:
    """Let this machine talk to itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def main(command: list[str]) -> int:
    """Run the command."""
    if command[0] == "--loopback":
        loopback_up()
        command = command[1:]
    code = subprocess.run(command, check=False).returncode
    print(f"ATTEMPTS {attempts()}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
