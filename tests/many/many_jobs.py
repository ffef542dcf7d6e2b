"""What tasks run in tests instead of conversions: a copy, or the misfortune that the source's name says."""

import os
import shutil
import signal
import time
from pathlib import Path

from xport.errors import ParityError


def convert_one(source, target, destination, keywords, cwd):
    name = Path(source).stem
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hang":
        time.sleep(600)
    if name == "wrong":
        raise ParityError("The numbers differ.")
    if name == "bug":
        raise ZeroDivisionError("division by zero")
    time.sleep(float(os.environ.get("MANY_JOBS_SECONDS", "0")))
    if log := os.environ.get("MANY_JOBS_LOG"):
        with open(log, "a") as file:
            file.write(f"{destination.rpartition('/')[2]}\n")
    if Path(source).is_dir():
        shutil.copytree(source, destination)
    else:
        shutil.copyfile(source, destination)
        if (data := Path(f"{source}.data")).exists():
            shutil.copyfile(data, f"{destination}.data")
    return {"size": 1, "route": [target], "verified": True, "worst": 1.0}
