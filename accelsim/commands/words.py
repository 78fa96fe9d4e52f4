"""What commands say: results as JSON on stdout, words to the user on stderr, where they are in no result's way."""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from accelsim.names import visible

OUTPUT = ("-o", "--output")  # where files go
RESUME = "--resume"  # which leads to the same files


def say(line: str) -> None:
    """A word to the user on stderr; where there is none it goes unsaid."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(visible(line) + "\n")


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on stdout; NaN and infinity, which JSON does not have, become null."""
    from accelsim.report.plain import to_json

    sys.stdout.write(to_json(content) + "\n")


def typed(words: Sequence[str]) -> str:
    """The command as it was typed, for a page to show; empty where Python called it.

    Left out is where its files go, and that it went on with an interrupted run: both make the same page.

    words: those of ``sys.argv``, the program first.
    """
    program = Path(words[0]) if words else Path()
    if program.stem != "accelsim" and (program.name, program.parent.name) != ("__main__.py", "accelsim"):
        return ""
    shown = ["accelsim"]
    for before, word in pairwise(words):
        if before not in OUTPUT and word not in (*OUTPUT, RESUME) and not word.startswith("--output="):
            shown.append(word)
    return shlex.join(shown)
