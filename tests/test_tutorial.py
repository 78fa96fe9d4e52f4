"""The tutorial notebook runs as it stands, in an empty folder, and shows what it showed."""

import json

from experiments.tutorial import NOTEBOOK, outputs


def text(output):
    """What an output says in plain text."""
    return "".join(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])


def test_every_cell_runs_and_shows_what_it_showed(tmp_path, monkeypatch, undrawn):
    """Tables are drawn by pandas, whose versions draw them differently; results are said by us, to the digit."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    stored = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = list(outputs(notebook))
    assert [[o["output_type"] for o in cell] for cell in found] == [[o["output_type"] for o in cell] for cell in stored]
    results = [
        (text(old), text(new))
        for before, after in zip(stored, found, strict=True)
        for old, new in zip(before, after, strict=True)
        if "Result(" in text(old)
    ]
    assert len(results) == 2
    for old, new in results:
        assert new == old
    assert any("text/html" in o.get("data", {}) for cell in found for o in cell)
    assert (tmp_path / "out" / "report.html").is_file()


def test_no_output_names_a_folder_of_this_computer():
    assert str(NOTEBOOK.parent.parent) not in NOTEBOOK.read_text(encoding="utf-8")
