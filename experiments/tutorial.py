"""The tutorial notebook: its cells run, and what they print and show beside them.

    python -m experiments.tutorial   # docs/tutorial.ipynb, its outputs as they come out today

A cell's outputs are what it prints and, like in a notebook, the value of its last line.  No kernel is needed.
"""

import ast
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.paths import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
Output = dict[str, Any]


def outputs(notebook: dict[str, Any]) -> Iterator[list[Output]]:
    """The outputs of each code cell, in order, run in one namespace in the current folder."""
    names: dict[str, Any] = {}
    number = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            yield _run("".join(cell["source"]), names, number)


def _run(source: str, names: dict[str, Any], number: int) -> list[Output]:
    """One cell."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), f"<cell {number}>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)
    found: list[Output] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        found.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data})
    return found


def _lines(text: str) -> list[str]:
    """Text as notebooks keep it."""
    return text.splitlines(keepends=True)


def main() -> None:
    """Run the cells in an empty folder and write the notebook with their outputs."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, (cell, found) in enumerate(zip(cells, outputs(notebook), strict=True), start=1):
                cell["outputs"], cell["execution_count"] = found, number
        finally:
            os.chdir(here)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
