"""Every block of code in README and docs runs, in an empty folder, in the order of the page.

``console`` and ``python`` blocks are run, and what a ``console`` block shows below a command is what it prints.  What
stands behind ``<!-- file: NAME -->`` lies in the folder by then.  All other blocks are in ``OTHERS``, with the test
that looks at them.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accelsim.compression.sparsify import smooth_noise
from accelsim.explore.description import read_description
from accelsim.network import Graph, Network
from accelsim.network.layers import Flatten, GlobalAveragePool, Linear
from accelsim.network.zoo.builder import Builder
from experiments.paths import ROOT

BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WORKED = "worked-examples.md"  # simulator/test_worked_examples.py runs it and works out each of its lines
RUN = ("console", "python")
DRAWING = "nothing to run"
OTHERS = {  # page and kind of blocks that are not run here, how the text begins, and what looks at it
    ("README.md", "bash", "make demo"): "test_make_has_what_the_pages_say",
    ("CONTRIBUTING.md", "bash", "make test"): "test_make_has_what_the_pages_say",
    ("README.md", "bash", "git clone"): "test_docs_install.py",
    ("docs/index.md", "bash", "git clone"): "test_docs_install.py",
    ("docs/cluster.md", "bash", "pip install"): "test_docs_cluster.py",
    ("docs/cluster.md", "bash", "#!/bin/bash"): "test_docs_cluster.py",
    ("docs/sweeps.md", "yaml", "models:"): "test_the_whole_sweep_file_of_the_page_is_sound",
    ("docs/concepts.md", "text", " spatial domain  "): DRAWING,
    ("docs/concepts.md", "text", " .dual file -->"): DRAWING,
    ("docs/modelling.md", "text", "        DRAM   weights of A"): DRAWING,
    ("docs/modelling.md", "text", "  stripe        1"): DRAWING,
}


def blocks(page: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(page.read_text(encoding="utf-8")))


def block_of(page: str, kind: str, beginning: str) -> str:
    """The text of the one block that an entry of ``OTHERS`` is about."""
    found = [b for b in blocks(ROOT / page) if b["kind"] == kind and b["text"].startswith(beginning) and not b["file"]]
    (block,) = found
    return block["text"]


def graph() -> Graph:
    """Four convolutions and ten classes: a network as a reader brings one."""
    b = Builder("brought", (16, 16, 3))
    b.conv("c1", 16, 3)
    b.conv("c2", 32, 3)
    b.conv("c3", 64, 3, stride=2, padding=1)
    b.conv("c4", 64, 3)
    b.add("pool", GlobalAveragePool())
    b.add("flat", Flatten())
    b.add("fc", Linear(in_features=64, out_features=10))
    return b.graph()


def bring_a_network(folder: Path) -> None:
    """``net.onnx`` and ``pictures/``, which the pages take for granted."""
    from accelsim.network.onnx import write_onnx

    rng = np.random.default_rng(0)
    brought = graph()
    sizes = brought.parameters
    arrays = {
        k: (rng.standard_normal(s) / np.sqrt(max(1, np.prod(s[:-1])))).astype(np.float32) for k, s in sizes.items()
    }
    write_onnx(Network(brought, arrays), folder / "net.onnx")
    (folder / "pictures").mkdir()
    for i, pixels in enumerate(smooth_noise(brought.input_shape)[:24]):
        Image.fromarray(pixels).save(folder / "pictures" / f"{i}.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_looked_at_by_a_test(page: Path) -> None:
    """A new block is run, or stands in the list above."""
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page))
    for block in blocks(page):
        if page.name != WORKED and not block["file"] and block["kind"] not in RUN:
            key = (page.relative_to(ROOT).as_posix(), block["kind"])
            assert any(key == (p, k) and block["text"].startswith(b) for p, k, b in OTHERS), block["text"]


def test_what_the_list_names_is_there() -> None:
    here = Path(__file__)
    for entry, test in OTHERS.items():
        text = block_of(*entry)
        if test == DRAWING:
            assert not re.search(r"^(\$|accelsim|python|make|pip|error:)", text, re.MULTILINE)
        else:
            assert f"def {test}(" in here.read_text(encoding="utf-8") or here.with_name(test).is_file()


def runs(page: Path) -> bool:
    return page.name != WORKED and any(block["kind"] in RUN and not block["file"] for block in blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=lambda page: page.name)
def test_what_a_page_says_to_run_runs(page: Path, tmp_path: Path) -> None:
    if "net.onnx" in page.read_text(encoding="utf-8"):
        pytest.importorskip("onnx")
        bring_a_network(tmp_path)
    for block in blocks(page):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "python":
            done = subprocess.run([sys.executable, "-c", block["text"]], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{block['text']}\n{done.stderr}"
        elif block["kind"] == "console":
            for command, shown in commands(block["text"]):
                must_print(command, shown, tmp_path)


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a session and the lines that the page shows of what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, list(filter(None, shown))


def must_print(command: str, shown: list[str], folder: Path) -> None:
    """Run a command as a reader would; if the page shows output it must be this one, as far as it is shown.

    Empty lines are left out on the pages, and files of the package are named as in the source tree.
    """
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "COLUMNS": "80", "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == (2 if "".join(shown).startswith("error: ") else 0), f"{command}\n{done.stderr}"
    printed = [line.rstrip() for line in (done.stdout + done.stderr).replace(f"{ROOT}/", "").splitlines()]
    printed = list(filter(None, printed))
    if shown and shown[-1] == "...":
        printed = [*printed[: len(shown) - 1], "..."]
    assert not shown or printed == shown, command


def test_a_number_that_a_command_does_not_print_is_found(tmp_path: Path) -> None:
    (right,) = commands("$ echo 1.05; echo; echo 2\n1.05\n...\n")
    must_print(*right, tmp_path)
    (wrong,) = commands("$ echo 1.05; echo; echo 2\n1.06\n...\n")
    with pytest.raises(AssertionError):
        must_print(*wrong, tmp_path)


def test_the_whole_sweep_file_of_the_page_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "whole.yaml").write_text(block_of("docs/sweeps.md", "yaml", "models:"), encoding="utf-8")
    assert read_description(tmp_path / "whole.yaml").report.break_even == "bandwidth_gbs"


def test_make_has_what_the_pages_say() -> None:
    """Each line is one that ``.ci/run`` runs; ``make demo`` runs the README's commands."""
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for page, beginning in (("README.md", "make demo"), ("CONTRIBUTING.md", "make test")):
        for line in block_of(page, "bash", beginning).splitlines():
            words = shlex.split(line, comments=True)
            if words == [".ci/run"]:
                assert os.access(ROOT / words[0], os.X_OK)
            else:
                assert shlex.join(words) in checks
                dry = ["make", "--dry-run", "--directory", str(ROOT), *words[1:]]
                assert subprocess.run(dry, capture_output=True).returncode == 0, line
    sessions = [b["text"] for b in blocks(ROOT / "README.md") if b["kind"] == "console"]
    shown = [command for text in sessions for command, _ in commands(text)]
    recipe = re.findall(r"^\t\$\(BIN\)/(accelsim .*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == recipe


def test_every_page_is_in_the_site_s_list() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
