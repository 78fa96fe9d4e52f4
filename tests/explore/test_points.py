"""Sparse files of an exploration that are made side by side, each by a process of its own."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from accelsim.compression.importing import Wishes
from accelsim.compression.sparsified import Asked
from accelsim.explore import own_network, points
from accelsim.explore.own_network import PAIRS, explore_network
from accelsim.explore.points import Job, side_by_side
from tests.explore.small import write_small

BUDGETS = ((1.1, 1.05), (1.3, 1.2))


def explored(monkeypatch, model: Path, folder: Path, large: int, budgets=BUDGETS) -> list[str]:
    """What was said; large: weights from which on files are made side by side."""
    said: list[str] = []
    monkeypatch.setattr(own_network, "PAIRS", PAIRS[1:2])
    monkeypatch.setattr(own_network, "BUDGETS", budgets)
    monkeypatch.setattr(own_network, "LARGE", large)
    monkeypatch.setattr(own_network, "cores", lambda: 2)
    explore_network(model, folder, Wishes(), Asked(images=model.parent / "images.npz"), said.append)
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.dual"))}


def test_side_by_side_or_one_after_the_other_the_bytes_are_the_same(tmp_path, monkeypatch):
    model = write_small(tmp_path)
    alone = explored(monkeypatch, model, tmp_path / "alone", 1 << 40)
    apart = explored(monkeypatch, model, tmp_path / "apart", 0)
    assert len(contents(tmp_path / "alone")) == 3
    assert contents(tmp_path / "alone") == contents(tmp_path / "apart")
    assert "sparse-1.1x: rounding the weights" in apart  # which only a process of its own says of which file
    assert not [line for line in alone if line.startswith("sparse-1.1x: rounding")]
    assert not list((tmp_path / "apart").glob("work"))


def test_a_file_whose_process_dies_is_made_all_the_same(tmp_path, monkeypatch):
    model = write_small(tmp_path)
    alone = explored(monkeypatch, model, tmp_path / "alone", 1 << 40)
    monkeypatch.setattr(points.sys, "executable", "/bin/false")
    died = explored(monkeypatch, model, tmp_path / "died", 0)
    assert contents(tmp_path / "alone") == contents(tmp_path / "died")
    assert [line for line in died if line.startswith("priced")] == [line for line in alone if line.startswith("priced")]


def test_budgets_that_cannot_be_kept_leave_a_file_out_wherever_it_is_made(tmp_path, monkeypatch):
    model = write_small(tmp_path)
    for large in (0, 1 << 40):
        said = explored(monkeypatch, model, tmp_path / str(large), large, ((1.1, 1.05), (1e5, 1.2)))
        (line,) = [line for line in said if "left out" in line]
        assert line.startswith("sparse-100000x is left out: ")
        assert list(contents(tmp_path / str(large))) == ["dense.dual", "sparse-1.1x.dual"]


def test_whoever_stops_listening_ends_the_processes(tmp_path, monkeypatch):
    """Interrupted while one works: it is gone a moment later, and there is no half of a file."""
    (tmp_path / "slow").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    (tmp_path / "slow").chmod(0o755)
    monkeypatch.setattr(points.sys, "executable", str(tmp_path / "slow"))
    job = Job("a", tmp_path, Wishes(), Asked(), tmp_path, tmp_path / "a.dual", 2.0, 1.1)
    answers = side_by_side([job], 1, lambda line: None)

    def interrupt_once_it_runs() -> None:
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        signal.raise_signal(signal.SIGUSR1)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=interrupt_once_it_runs).start()
        with pytest.raises(KeyboardInterrupt):
            next(answers)
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not (tmp_path / "a.dual").exists()
