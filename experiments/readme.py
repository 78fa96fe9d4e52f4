"""Print the README's examples again: each block after ``<!-- run: COMMAND -->`` becomes what the command prints.

Between ``<!-- worst rows -->`` and ``<!-- end -->`` come the rows of reports/validation.md with the largest errors.
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
BLOCK = re.compile(r"<!-- run: (.*?) -->\n```text\n.*?```", re.DOTALL)


def block(match: re.Match[str]) -> str:
    """The command's output without colours and trailing blanks; empty lines between tables are dropped."""
    command = match[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "80", "PATH": path}
    )
    if done.returncode not in (0, 1, 2):
        raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr}")
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    return f"<!-- run: {command} -->\n```text\n$ {command}\n" + "\n".join(filter(None, lines)) + "\n```"


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
    """Renew the README's blocks."""
    readme = ROOT / "README.md"
    content = readme.read_text(encoding="utf-8")
    if "--worst" not in sys.argv:
        content = BLOCK.sub(block, content)
    write_text(readme, ROWS.sub(lambda _: worst_rows(), content))


if __name__ == "__main__":
    main()
