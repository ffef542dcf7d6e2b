"""What building and running containers takes on a Debian machine, as root and without a daemon: podman, buildah, runc.

Nothing is pulled: the base image is made by debootstrap from Debian's packages.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("podman", "buildah", "runc", "debootstrap")
PACKAGES = (*PROGRAMS, "iptables", "netavark", "aardvark-dns", "slirp4netns")
SUITE = "bookworm"
_INCLUDE = "python3,python3-pip,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def why_not() -> str:
    """Why containers cannot be tested here; empty if they can."""
    if os.geteuid() != 0:
        return "containers are built as root here, and this is not root"
    release = Path("/etc/os-release")
    text = release.read_text() if release.is_file() else ""
    if f"VERSION_CODENAME={SUITE}" not in text:
        return f"the base image is made by debootstrap, on Debian {SUITE}; this is {platform.platform()}"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install {' '.join(PACKAGES)}"
    if sys.version_info[:2] != (3, 11):
        return f"Debian {SUITE} has Python 3.11, this is {sys.version_info.major}.{sys.version_info.minor}"
    return ""


class Machine:
    """An image store of its own, so that nobody else's images are touched.

    Args:
        folder: Where everything lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        configuration = folder / "storage.conf"
        configuration.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
        )
        self._pip_settings = folder / "pip.conf"
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration)}

    def __call__(self, *command: object, timeout: float = 1500, check: bool = True) -> str:
        """Run a program; its output."""
        words = [str(word) for word in command]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(words)} exited with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            )
        return done.stdout.strip()

    def base(self, image: str) -> None:
        """Make an image of Debian with Python and give it the name that Dockerfiles ask for.

        `XPORT_CONTAINER_BASE` may name a file that keeps the image's content for the next time.
        """
        kept = os.environ.get("XPORT_CONTAINER_BASE")
        archive = Path(kept) if kept else self.folder / "root.tar"
        if not archive.is_file():
            root = self.folder / "root"
            self("debootstrap", "--variant=minbase", f"--include={_INCLUDE}", SUITE, root, *_mirror())
            self("tar", "-C", root, "-cf", f"{archive}.part", ".")
            Path(f"{archive}.part").rename(archive)
            shutil.rmtree(root)
        self("podman", "import", archive, image)
        if not kept:
            archive.unlink()

    def why_not_run(self, image: str) -> str:
        """Why this machine cannot run containers at all, whatever is in them; empty if it can."""
        try:
            self("podman", "--runtime", "runc", "run", "--rm", "--read-only", "--cap-drop", "all", image, "true")
        except AssertionError as error:
            return f"this machine runs no containers: {error}"
        return ""

    def _pip(self, setting: str) -> str:
        return self(sys.executable, "-m", "pip", "config", "get", f"global.{setting}", check=False)

    def build(self, bundle: Path, image: str) -> None:
        """Build a bundle's image by its own Dockerfile."""
        # Where this machine gets its packages from, the container does too. A file, since `--env` does not reach RUN.
        settings = []
        mounts = [(self._pip_settings, "/etc/pip.conf")]
        if _CERTIFICATES.is_file():
            # Not over the image's own folder: Java writes its keystore there when it is installed.
            mounts.append((_CERTIFICATES, "/mnt/certificates.crt"))
            settings.append("cert = /mnt/certificates.crt")
        wheels = [path for path in self._pip("find-links").split() if Path(path).is_dir()]
        mounts += [(path, path) for path in wheels]
        settings += [f"find-links = {' '.join(wheels)}"] if wheels else []
        for name in ("index-url", "extra-index-url"):
            if urls := [url for url in self._pip(name).split() if url.startswith("http")]:
                settings.append(f"{name} = {' '.join(urls)}")
        self._pip_settings.write_text("\n".join(["[global]", *settings, ""]))
        options = ["--isolation=chroot", "--network", "host", "--pull-never", "--format", "docker"]
        options += [word for path, inside in mounts for word in ("-v", f"{path}:{inside}:ro")]
        self("buildah", "build", *options, "-t", image, bundle)

    def run(self, image: str, name: str, *, port: int, inside: int, tmpfs: str) -> None:
        """Start a container as its README says, with limits that this kind of machine wants."""
        limits = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"]
        publish = ["-p", f"127.0.0.1:{port}:{inside}"]
        locked = ["--read-only", "--tmpfs", tmpfs, "--cap-drop", "all"]
        self("podman", "--runtime", "runc", "run", "-d", "--name", name, *publish, *locked, *limits, image)

    def remove(self, name: str) -> None:
        """Stop and remove a container."""
        self("podman", "--runtime", "runc", "rm", "-f", "-t", "20", name, check=False)


def _mirror() -> list[str]:
    """Where this machine gets Debian's packages from."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lines = sources.read_text().splitlines() if sources.is_file() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:")][:1]
