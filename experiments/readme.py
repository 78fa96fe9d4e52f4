"""Print the examples of the README and of docs/ again: each block after ``<!-- run: COMMAND -->`` is what it prints.

After ``<!-- run, 35 lines: COMMAND -->`` it is the first so many lines of that, and an ellipsis.  Between
``<!-- worst rows -->`` and ``<!-- end -->`` come the rows of reports/validation.md with the largest errors.
``python -m experiments.readme``; with ``--worst`` only these rows are renewed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from accelsim.files import write_text
from experiments.paths import REPORTS, ROOT

WORST = 8
ROWS = re.compile(r"<!-- worst rows -->.*?<!-- end -->", re.DOTALL)
LINK = re.compile(r"\]\((\w+\.md)\)")  # of a page beside the validation report
BLOCK = re.compile(r"<!-- run(?:, (\d+) lines)?: (.*?) -->\n```console\n.*?```", re.DOTALL)
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def block(match: re.Match[str]) -> str:
    """The command's output without colours and trailing blanks; empty lines between tables are dropped."""
    count, command = match[1], match[2]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "80", "PATH": path}
    )
    if done.returncode not in (0, 1, 2):
        raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr}")
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    shown = list(filter(None, lines))
    if count is not None and len(shown) > int(count):
        shown = [*shown[: int(count)], "..."]
    mark = match[0].partition("\n")[0]
    return f"{mark}\n```console\n$ {command}\n" + "\n".join(shown) + "\n```"


def worst_rows() -> str:
    """The rows of the validation report with the largest worst error, without their commands."""
    text = (REPORTS / "validation.md").read_text(encoding="utf-8")
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    wrong = [cells for cells in table[2:] if cells[4] != "0"]
    rows = sorted(wrong, key=lambda cells: -float(cells[4].split()[0]))[:WORST]
    lines = ["| " + " | ".join(cells[i] for i in (0, 1, 2, 3, 4, 6)) + " |" for cells in [*table[:1], *rows]]
    lines = [LINK.sub(r"](reports/\1)", line) for line in lines]
    return "\n".join(["<!-- worst rows -->", lines[0], "|---|---|---|---|---|---|", *lines[1:], "<!-- end -->"])


def main() -> None:
    """Renew the blocks of every page that has some."""
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        content = old if "--worst" in sys.argv else BLOCK.sub(block, old)
        content = ROWS.sub(lambda _: worst_rows(), content)
        if content != old:
            write_text(page, content)


if __name__ == "__main__":
    main()
