"""Print the README's examples again: each block after ``<!-- run: COMMAND -->`` becomes what the command prints.

Run from the repository's root: ``python reports/readme.py``.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from accelsim.files import write_text

ROOT = Path(__file__).parents[1]
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


if __name__ == "__main__":
    readme = ROOT / "README.md"
    write_text(readme, BLOCK.sub(block, readme.read_text(encoding="utf-8")))
