"""The documentation's commands and Python blocks run, in an empty folder, in the order of the page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.paths import ROOT

BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
TESTED_ELSEWHERE = {"own-machine.md", "worked-examples.md"}  # test_own_machine.py, simulator/test_worked_examples.py
PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in TESTED_ELSEWHERE]


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_what_a_page_says_to_run_runs(page: Path, tmp_path: Path) -> None:
    bin_folder = shlex.quote(str(Path(sys.executable).parent))
    for language, text in blocks(page):
        if language == "python":
            command = [sys.executable, "-c", text]
        else:
            lines = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
            command = ["bash", "-ec", f"PATH={bin_folder}:$PATH\n" + "\n".join(lines)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_the_page_of_one_s_own_machine_is_the_readme_s() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Your own machine") : readme.index("## How a layer becomes cycles")]
    page = (ROOT / "docs" / "own-machine.md").read_text(encoding="utf-8")
    assert page.strip() == section.replace("## Your own machine", "# Your own machine", 1).strip()


def test_every_page_is_in_the_site_s_list() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
