"""Names from a user's file as they are shown: on a terminal, in a CSV file, in a plot.

A layer may be called anything.  What would move the cursor, start a formula in a spreadsheet or be
set as mathematics is shown as the characters that it is made of; all else stays.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

MAX_MESSAGE = 2000
MAX_IN_PLOT = 100
# Unicode's control, format, surrogate, unassigned, line ends
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str) -> str:
    """The text with a backslash code for each character that has no shape of its own, line ends and tabs included."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _HIDDEN else c for c in text)


def of_file(path: Path) -> str:
    """What a file that says no name of its own is called: its file's, without ending.

    A byte that is no text, which neither YAML nor Parquet takes, as a backslash code.
    """
    return path.stem.encode(errors="backslashreplace").decode()


def one_line(message: str) -> str:
    """A message in one line of bounded length, its beginning and its end."""
    text = visible(" ".join(message.split()))
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 300]} [...] {text[-200:]}"


def cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet takes for a formula.

    An apostrophe before what begins like one.
    """
    shown = visible(text)
    return f"'{shown}" if shown.startswith((*_FORMULA, "'")) else shown


def from_cell(text: str) -> str:
    """What ``cell`` was given, but for hidden characters."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text


def in_plot(text: str) -> str:
    """The text as Matplotlib draws it letter for letter.

    No mathematics, no label that is left out of a legend, and none that leaves no room for the plot:
    of a longer one its beginning and its end.
    """
    whole = visible(text)
    short = whole if len(whole) <= MAX_IN_PLOT else f"{whole[: MAX_IN_PLOT - 31]}\N{HORIZONTAL ELLIPSIS}{whole[-30:]}"
    shown = short.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def told_apart(names: Iterable[str]) -> list[str]:
    """The names, the second and later ones of a name as ``NAME (2)``, ``NAME (3)``, ..., so that no two are equal."""
    given = list(names)
    found: list[str] = []
    for name in given:
        shown = name
        number = 1
        while shown in found or (number > 1 and shown in given):
            number += 1
            shown = f"{name} ({number})"
        found.append(shown)
    return found
