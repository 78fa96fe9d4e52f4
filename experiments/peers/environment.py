"""An environment of its own for a peer whose dependencies do not agree with ours, made once under ``build/peers``."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from experiments.paths import PEERS


class Unavailable(Exception):
    """The peer cannot be installed here; the message says why in one line."""


def environment(name: str, requirements: tuple[str, ...], base: str = sys.executable) -> Path:
    """The interpreter of ``build/peers/NAME``, which has the requirements installed.

    It is made when it is first asked for, and again when the requirements change.  base: the Python that it is made of.
    Raises Unavailable where pip cannot.
    """
    folder = PEERS / name
    wanted = "\n".join(requirements)
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    PEERS.mkdir(parents=True, exist_ok=True)
    with (PEERS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _run(base, "-m", "venv", "--clear", str(folder))
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
            stamp.write_text(wanted)
    return python


def newer_python(major: int, minor: int) -> str:
    """A Python of at least this version: the running one or one on the search path.  Raises Unavailable."""
    if sys.version_info >= (major, minor):
        return sys.executable
    for found in (shutil.which(f"python{major}.{newer}") for newer in range(minor, minor + 3)):
        if found and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
            return found
    raise Unavailable(f"no Python {major}.{minor} or newer on the search path")


def _run(*command: str) -> None:
    """Run a command.  Raises Unavailable with its last line if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Unavailable(f"{' '.join(command[1:4])} ...: {last[:200]}")
