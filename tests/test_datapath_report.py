"""reports/datapath.md says what was measured, and nothing else."""

import json

from experiments import datapath


def test_the_page_is_what_its_command_writes_of_the_stored_figures():
    assert datapath.REPORT.read_text() == datapath.page(json.loads(datapath.STORED.read_text()))


def test_every_stored_figure_is_of_an_arithmetic_that_the_command_measures():
    known = {case.name for case in datapath.cases()}
    for model, rows in json.loads(datapath.STORED.read_text()).items():
        assert set(rows["cases"]) <= known, model
        assert all(row["images"] > 0 for row in rows["cases"].values()), model
