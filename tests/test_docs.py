"""Every block of code in README and docs runs, in an empty folder, in the order of the page.

``console`` and ``python`` blocks are run; what stands behind ``<!-- file: NAME -->`` lies in the folder by then.  The
other ``yaml`` blocks must be sound.  ``text`` is output or a drawing.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accelsim.cli import main
from accelsim.compression.sparsify import smooth_noise
from accelsim.explore.description import read_description
from accelsim.network import Graph, Network
from accelsim.network.layers import Flatten, GlobalAveragePool, Linear
from accelsim.network.zoo.builder import Builder
from experiments.paths import ROOT

BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTED_ELSEWHERE = {"own-machine.md", "worked-examples.md"}  # test_own_machine.py, simulator/test_worked_examples.py
RUN = ("console", "python")
KINDS = {*RUN, "bash", "csv", "text", "yaml"}


def blocks(page: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(page.read_text(encoding="utf-8")))


def named(pages: list[Path], *kinds: str) -> list[Path]:
    """Pages, not tested elsewhere, that hold such a block."""
    own = [page for page in pages if page.name not in TESTED_ELSEWHERE]
    return [page for page in own if any(block["kind"] in kinds for block in blocks(page))]


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
def test_every_block_is_of_a_kind_that_is_looked_at(page: Path) -> None:
    assert {block["kind"] for block in blocks(page)} <= KINDS
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", named(PAGES, *RUN), ids=lambda page: page.name)
def test_what_a_page_says_to_run_runs(page: Path, tmp_path: Path) -> None:
    if "net.onnx" in page.read_text(encoding="utf-8"):
        pytest.importorskip("onnx")
        bring_a_network(tmp_path)
    for block in blocks(page):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["kind"] in RUN:
            done = subprocess.run(command(block), cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block['text']}\n{done.stderr}"


def command(block: re.Match[str]) -> list[str]:
    """What runs a block: Python, or the shell with this Python's commands in front."""
    if block["kind"] == "python":
        return [sys.executable, "-c", block["text"]]
    lines = [line.removeprefix("$ ") for line in block["text"].splitlines() if line.startswith("$ ")]
    bin_folder = shlex.quote(str(Path(sys.executable).parent))
    return ["bash", "-ec", f"PATH={bin_folder}:$PATH\n" + "\n".join(lines)]


def test_the_whole_sweep_file_of_the_page_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (whole,) = (b for b in blocks(ROOT / "docs" / "sweeps.md") if b["kind"] == "yaml" and not b["file"])
    (tmp_path / "whole.yaml").write_text(whole["text"], encoding="utf-8")
    assert read_description(tmp_path / "whole.yaml").report.break_even == "bandwidth_gbs"


def shell_commands() -> Iterator[str]:
    """Our commands in shell scripts that a test cannot run: they need a cluster."""
    for page in named(PAGES, "bash"):
        for block in blocks(page):
            if block["kind"] == "bash":
                assert subprocess.run(["bash", "-n"], input=block["text"], text=True, check=False).returncode == 0
                yield from (line for line in block["text"].splitlines() if line.startswith("accelsim "))


def test_commands_that_need_a_cluster_have_flags_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(shell_commands())
    assert found
    for line in found:
        words = shlex.split(line, comments=True)
        assert main([words[1], "--help"]) == 0
        help_text = capsys.readouterr().out
        assert all(word in help_text for word in words[2:] if word.startswith("-"))


def test_every_page_is_in_the_site_s_list() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
