"""Stands in for `docker`: takes what a careful person would type and runs the stand-in server on the mounts."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path


def refuse(text):
    sys.exit(f"docker stand-in: {text}")


def run(words):
    parser = argparse.ArgumentParser("docker run", allow_abbrev=False)
    parser.add_argument("--rm", action="store_true", required=True)
    parser.add_argument("--read-only", action="store_true", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--tmpfs", action="append")
    parser.add_argument("--cap-drop", choices=["all"], required=True)
    parser.add_argument("-p", action="append", required=True)
    parser.add_argument("-v", action="append", required=True)
    parser.add_argument("--entrypoint", required=True)
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args(words)
    ports = {}
    for text in arguments.p:
        match = re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", text)
        ports[match[2] if match else refuse(f"{text} is open to everybody")] = match[1]
    mounts = {}
    for text in arguments.v:
        outside, inside, mode = text.split(":")
        if mode != "ro" or not Path(outside).is_absolute() or not Path(outside).is_dir():
            refuse(f"bad mount {text}")
        mounts[inside] = outside
    command = arguments.command
    for inside, outside in mounts.items():
        command = [word.replace(inside, outside) for word in command]
    command = [re.sub(r"^(--(?:rest_api_)?port=)(\d+)$", lambda m: m[1] + ports[m[2]], word) for word in command]
    config = next(word for word in command if word.startswith("--model_config_file="))
    text = Path(config.partition("=")[2]).read_text()
    for inside, outside in mounts.items():
        text = text.replace(inside, outside)
    translated = Path(tempfile.mkdtemp(dir=os.environ["STANDIN_TMP"])) / "models.config"
    translated.write_text(text)
    command[command.index(config)] = f"--model_config_file={translated}"
    server = Path(__file__).with_name("tensorflow_model_server.py")
    os.execv(sys.executable, [sys.executable, str(server), *command])


def main():
    with open(os.environ["STANDIN_CALLS"], "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\n")
    what, words = sys.argv[1], sys.argv[2:]
    if what == "info":
        sys.exit("Cannot connect to the Docker daemon" if os.environ.get("STANDIN_DAEMON") == "off" else 0)
    elif what == "run":
        run(words)
    elif what == "rm":
        sys.exit(0 if words[:1] == ["-f"] and len(words) == 2 else "bad rm")
    else:
        refuse(f"unknown command {what}")


if __name__ == "__main__":
    main()
