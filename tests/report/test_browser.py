"""The page in a real browser: no errors, tables that sort and filter, hints at the pointer, no overflow on a phone."""

import csv
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from accelsim.cli import main
from accelsim.compression.importing import Wishes
from accelsim.compression.sparsified import Asked
from accelsim.explore.own_network import PAIRS, explore_network
from accelsim.explore.sweep import run_sweep
from accelsim.report.explored import ExplorationPages
from accelsim.report.sweep_report import sweep_report
from tests.explore.small import write_small, write_sweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=5000"),
    "--allow-file-access-from-files",  # a page in a frame of another
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

# Put before the page's own script, and after it.
WATCH = """<script>
window.faults = [];
window.addEventListener("error", (event) => faults.push(String(event.message)));
for (const name of ["error", "warn"]) {
  const said = console[name];
  console[name] = (...words) => { faults.push(words.join(" ")); said(...words); };
}
</script>"""
SAY = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const found = {};
  try { (%s)(found); } catch (error) { faults.push(String(error)); }
  found.faults = faults;
  const pre = document.createElement("pre");
  pre.id = "outcome";
  pre.textContent = JSON.stringify(found);
  document.body.append(pre);
}, 300));
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page") / "out"
    arguments = ["compare", "resnet20-cifar10", "spatial-16x16", "winograd-16x16", "--engine", "fast"]
    assert main([*arguments, "-o", str(folder)]) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sweep_page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("sweep")
    return sweep_report(run_sweep(write_sweep(folder), folder / "out", workers=1))["report.html"].decode()


@pytest.fixture(scope="module")
def explored(tmp_path_factory) -> Path:
    """The folder that ``explore`` fills for a small network."""
    folder = tmp_path_factory.mktemp("explored")
    model = write_small(folder)
    found = explore_network(model, folder / "out", Wishes(), Asked(images=folder / "images.npz"), lambda line: None)
    ExplorationPages(folder / "out", "accelsim explore small.dual -o out").write(found)
    return folder / "out"


@pytest.fixture(params=["page", "sweep_page", "explored"])
def any_page(request) -> str:
    """The page of a comparison, of a sweep, of an exploration."""
    made = request.getfixturevalue(request.param)
    return (made / "report.html").read_text("utf-8") if isinstance(made, Path) else made


def tried(page: str, script: str, folder: Path, width: int = 1280, height: int = 900) -> dict:
    """What a script that runs in the page puts into its argument, and the faults that the browser told."""
    file = folder / "page.html"
    file.write_text(page.replace("<body>", f"<body>{WATCH}", 1).replace("</body>", f"{SAY % script}</body>"), "utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"]
    shown = subprocess.run([*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=300)
    outcome = re.search(r'<pre id="outcome">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert outcome, shown.stderr[-2000:]
    return json.loads(html.unescape(outcome[1]))


def test_every_page_runs_without_a_word_of_complaint_and_opens_with_the_verdict(any_page, tmp_path):
    script = """(f) => {
      f.marks = document.querySelectorAll("figure rect, figure circle").length;
      const order = [...document.querySelectorAll(".verdict, table, figure")];
      f.first = order[0].className;
      f.tables = document.querySelectorAll("table.sortable").length;
      f.tools = document.querySelectorAll(".tools button").length;
      f.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
    }"""
    found = tried(any_page, script, tmp_path)
    assert found["faults"] == []
    assert found["fetched"] == []
    assert found["marks"] >= 8
    assert found["first"] == "verdict"
    assert found["tools"] >= found["tables"] > 1  # each gives CSV


def test_whoever_cannot_see_the_page_is_told_what_is_on_it(any_page, tmp_path):
    """Each control and picture has a name, each head of a column says that it is one, tables are reached by keys."""
    script = """(f) => {
      const named = (e) => e.getAttribute("aria-label") || (e.tagName !== "svg" && e.textContent.trim());
      const all = (what) => [...document.querySelectorAll(what)];
      f.unnamed = all("input, select, button, svg, img").filter((e) => !named(e)).map((e) => e.outerHTML.slice(0, 90));
      f.pictures = all("svg").filter((e) => e.getAttribute("role") !== "img").length;
      f.heads = all("th").filter((e) => !e.getAttribute("scope")).length;
      f.unreached = all(".wide").filter((e) => e.tabIndex !== 0).length;
      f.language = document.documentElement.lang;
      f.headings = all("h1").length;
    }"""
    found = tried(any_page, script, tmp_path)
    assert found["unnamed"] == []
    assert (found["pictures"], found["heads"], found["unreached"]) == (0, 0, 0)
    assert (found["language"], found["headings"]) == ("en", 1)


def test_a_click_on_a_file_s_point_says_the_command_that_gives_its_figures(explored, tmp_path, monkeypatch, capsys):
    script = """(f) => {
      const mark = document.querySelector('figure[data-cloud="points"] circle');
      mark.dispatchEvent(new PointerEvent("pointerenter", { clientX: 200, clientY: 200 }));
      f.hint = document.querySelector(".tip").textContent;
      mark.dispatchEvent(new MouseEvent("click"));
      f.command = document.querySelector('figure[data-cloud="points"] code.command').textContent;
    }"""
    found = tried((explored / "report.html").read_text("utf-8"), script, tmp_path)
    assert found["hint"].startswith(f"dense on {PAIRS[0][0]}\ntimes smaller than float32")
    monkeypatch.chdir(explored)
    words = found["command"].split()
    assert words[0] == "accelsim"
    assert main([*words[1:], "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    point = pd.read_csv(explored / "points.csv").iloc[0]
    assert point["machine"] == PAIRS[0][0]
    assert [total[c] for c in ("cycles", "energy_pj", "area_mm2")] == [
        point[c] for c in ("cycles", "energy_pj", "area_mm2")
    ]


def test_a_table_sorts_both_ways_by_the_numbers_of_a_column(page, tmp_path):
    script = """(f) => {
      const table = document.querySelector("table.layers");
      const read = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[1].textContent.replaceAll(",", "")));
      const head = table.querySelectorAll("thead tr:last-child th")[1];
      const button = head.querySelector("button");
      f.before = read(); button.click(); f.up = read(); button.click(); f.down = read();
      f.sorted = head.getAttribute("aria-sort");
    }"""
    found = tried(page, script, tmp_path)
    assert found["up"] == sorted(found["before"])
    assert found["down"] == sorted(found["before"], reverse=True)
    assert found["before"] != found["up"]
    assert found["sorted"] == "descending"


def test_a_table_and_the_chart_show_the_rows_that_are_asked_for(page, tmp_path):
    script = """(f) => {
      const table = document.querySelector("table.layers");
      const find = table.closest(".wide").previousElementSibling.querySelector("input");
      find.value = "layer3.1"; find.dispatchEvent(new Event("input"));
      f.rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
      const chart = document.getElementById("layer-filter");
      chart.value = "layer3.1"; chart.dispatchEvent(new Event("input"));
      f.bars = document.querySelectorAll('figure[data-chart="layers"] rect').length;
    }"""
    found = tried(page, script, tmp_path)
    assert found["rows"] == ["layer3.1.conv1", "layer3.1.conv2", "layer3.1.add"]
    assert found["bars"] == 2 * 2 * 2  # layers that take cycles (the addition rides), machines, working and stalled


def test_a_tables_csv_names_each_column_in_full_and_holds_the_rows_shown(page, tmp_path):
    script = """(f) => { f.lines = csv(document.querySelector("table.layers")).split("\\n"); }"""
    first, second, ratio = "spatial-16x16", "winograd-16x16", "ratio"
    names = [f"cycles, {first}", f"cycles, {second}", f"cycles, {ratio}"]
    names += [f"energy, nJ, {first}", f"energy, nJ, {second}", f"energy, nJ, {ratio}"]
    names += [f"bound by, {first}", f"bound by, {second}", f"mode, {first}", f"mode, {second}"]
    lines = tried(page, script, tmp_path)["lines"]
    rows = list(csv.reader(lines))
    assert rows[0] == ["layer", *names, "kind"]
    table = {row[0]: row for row in rows[1:]}
    assert float(table["conv1"][3]) == pytest.approx(int(table["conv1"][2]) / int(table["conv1"][1]), abs=6e-4)
    assert table["layer1.0.add"][1:4] == ["0", "0", ""]  # rides on another layer: no ratio


def test_energies_and_bytes_are_told_with_their_units(page, tmp_path):
    script = """(f) => {
      f.pj = [17.29e6, 4e12, 12, 5320].map((value) => withUnit(value, "pJ"));
      f.bytes = withUnit(79400, "bytes");
      f.said = [...document.querySelectorAll('figure[data-chart="stack"] text')].map((text) => text.textContent);
    }"""
    found = tried(page, script, tmp_path)
    assert found["pj"] == ["17.29 \u00b5J", "4 J", "12 pJ", "5.32 nJ"]
    assert found["bytes"] == "79.4 kB"
    assert [text.split()[-1] for text in found["said"] if " " in text] == ["\u00b5J"] * 2 + ["kB"] * 2


def test_a_hint_says_what_the_pointer_is_on(page, tmp_path):
    script = """(f) => {
      const bar = document.querySelector('figure[data-chart="layers"] rect');
      bar.dispatchEvent(new PointerEvent("pointerenter", { clientX: 200, clientY: 200 }));
      f.text = document.querySelector(".tip").textContent; f.shown = !document.querySelector(".tip").hidden;
      bar.dispatchEvent(new PointerEvent("pointerleave", {}));
      f.after = document.querySelector(".tip").hidden;
    }"""
    found = tried(page, script, tmp_path)
    assert found["text"].startswith("conv1 on spatial-16x16\ncycles")
    assert found["shown"]
    assert found["after"]


def test_a_layer_opens_to_all_that_is_known_of_it(page, tmp_path):
    script = """(f) => {
      const button = document.querySelector("table.layers button.more");
      button.click();
      f.open = button.getAttribute("aria-expanded");
      f.text = document.querySelector("tr.detail").textContent;
      button.click();
      f.gone = document.querySelector("tr.detail") === null;
    }"""
    found = tried(page, script, tmp_path)
    assert found["open"] == "true"
    assert "energy sram pj" in found["text"]
    assert "3x32x32 to 16x32x32, 3x3, padding 1" in found["text"]
    assert "weight density" in found["text"]
    assert found["gone"]


def test_the_roofline_zooms_and_goes_back(page, tmp_path):
    script = """(f) => {
      const svg = document.querySelector('figure[data-chart="scatter"] svg');
      const count = () => svg.querySelectorAll("circle").length;
      f.before = count();
      const box = svg.getBoundingClientRect();
      for (let i = 0; i < 8; i++) {
        svg.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, clientX: box.left + 80, clientY: box.top + 40 }));
      }
      f.zoomed = count();
      svg.dispatchEvent(new MouseEvent("dblclick"));
      f.after = count();
    }"""
    found = tried(page, script, tmp_path)
    assert found["zoomed"] < found["before"] == found["after"]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page_without_a_scroll_bar_of_its_own(any_page, tmp_path, width):
    """Chromium's window is 500 wide at least; a frame of the width stands for the phone."""
    (tmp_path / "inner.html").write_text(any_page, "utf-8")
    style = f"width:{width}px;height:800px;border:0"
    frame = f'<!DOCTYPE html><body><iframe src="inner.html" style="{style}"></iframe></body>'
    script = """(f) => {
      const inner = document.querySelector("iframe").contentDocument;
      f.width = inner.documentElement.clientWidth; f.needed = inner.documentElement.scrollWidth;
    }"""
    found = tried(frame, script, tmp_path, width=1400)
    assert found["width"] == width
    assert found["needed"] <= width


def test_the_look_changes_between_light_and_dark(page, tmp_path):
    script = """(f) => {
      const paper = () => getComputedStyle(document.body).backgroundColor;
      f.first = paper(); document.querySelector("button.theme").click(); f.second = paper();
    }"""
    found = tried(page, script, tmp_path)
    assert {found["first"], found["second"]} == {"rgb(255, 255, 255)", "rgb(21, 24, 28)"}
