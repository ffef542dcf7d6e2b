"""Coverage-guided fuzzing of our own readers with atheris: ``python tests/fuzz/run.py --seconds 60``.

The time is shared by all readers, each in a process of its own, which begins with sound files and keeps what reaches
new code. What makes a reader raise anything but an error of ours, hang or eat memory is written to ``--findings``. What
is found is mended, and made again in code by a test in ``test_readers.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
_LIMITS = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=100000")
"""For one input: seconds, megabytes, and how many bytes it may have."""


def main() -> int:
    """Fuzz, and tell."""
    asked = _arguments()
    try:
        import atheris
    except ImportError:
        print("skipped: fuzzing; atheris is not installed: pip install 'xport-ml[fuzz]'")
        return 0
    sys.path.insert(0, str(HERE))
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["xport"]):  # it names them all
        from readers import READERS
    names = asked.reader or list(READERS)
    asked.findings.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="xport-fuzz-", dir=asked.memory) as folder:
        corpus = prepared(Path(folder), names, asked.seeds)
        for name in names:
            settings = [f"-max_total_time={max(1, round(asked.seconds / len(names)))}", "-seed=1", *_LIMITS]
            if not _fuzzed(name, asked.findings, [str(corpus / name), *settings]):
                failed.append(name)
    print(f"fuzzed {len(names)} readers: " + (f"findings in {', '.join(failed)}" if failed else "nothing found"))
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="For all readers together.")
    parser.add_argument("--reader", action="append", help="Only this one. Repeatable.")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--seeds", type=Path, help="Sound files that an earlier run of tests/hostile/seeds.py made.")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    parser.add_argument("--memory", default=memory, help="A folder for temporary files.")
    return parser.parse_args()


def prepared(folder: Path, names: Sequence[str], sound: Path | None = None) -> Path:
    """Make a folder of sound files to begin with for every reader.

    Args:
        folder: Where.
        names: The readers.
        sound: The files of `tests/hostile/seeds.py`; made, by a process of their own, if they are needed.
    """
    from readers import READERS

    if sound is None and any(isinstance(seed, str) for name in names for seed in READERS[name].seeds):
        sound = folder / "sound"
        sound.mkdir()
        build = "import sys; from pathlib import Path; import seeds; seeds.build(Path(sys.argv[1]))"
        command = [sys.executable, "-c", build, str(sound)]
        subprocess.run(command, cwd=HERE.parent / "hostile", check=True, capture_output=True)
    for name in names:
        (folder / name).mkdir()
        for number, seed in enumerate(READERS[name].seeds):
            data = seed if isinstance(seed, bytes) else (sound or folder).joinpath(seed).read_bytes()
            (folder / name / f"seed{number}").write_bytes(data)
    return folder


def _fuzzed(name: str, findings: Path, settings: Sequence[str]) -> bool:
    """Fuzz a reader in a fork, which need not import everything again; whether nothing was found."""
    with tempfile.TemporaryFile() as log:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _fuzz(name, findings, settings, log.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.seek(0)
        told = log.read().decode(errors="replace").splitlines()
    runs = next((line.split()[1] for line in reversed(told) if line.startswith("Done ")), "no")
    print(f"{name}: {runs} inputs" if code == 0 else f"{name}: FOUND", flush=True)
    if code:
        print("\n".join(f"  {line}" for line in told[-40:]))
    return code == 0 and runs != "no"


def _fuzz(name: str, findings: Path, settings: Sequence[str], log: int) -> None:
    """Fuzz until the time is over or something is found; ends the process."""
    try:
        import atheris
        from readers import check

        os.dup2(log, 1)
        os.dup2(log, 2)

        def read(data: bytes) -> None:
            try:
                check(name, data)
            except BaseException:  # what hangs or eats memory is written by libFuzzer itself
                (findings / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
                raise

        prefix = f"-artifact_prefix={findings}/{name}-"
        atheris.Setup([sys.argv[0], prefix, *settings], read)
        atheris.Fuzz()
    finally:
        os._exit(70)  # it never comes back when all is well


if __name__ == "__main__":
    sys.exit(main())
