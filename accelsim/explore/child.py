"""A process of our own that is asked and answers in lines of JSON, and leaves Ctrl-C to whoever asks."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import TextIO


def started(module: str, settings: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """A process that runs a module, in a group of its own: Ctrl-C does not reach it.

    settings: of its environment, beside ours.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, **(settings or {})},
        process_group=0,
    )


def answers() -> TextIO:
    """Where such a process answers; whatever a library prints is no answer and goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also where whoever asks has put us into its own group
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream
