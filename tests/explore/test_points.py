"""Sparse files of an exploration that are made side by side, each by a process of its own."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from accelsim.compression.importing import Wishes
from accelsim.compression.sparsified import Asked
from accelsim.explore import child, own_network
from accelsim.explore.own_network import PAIRS, explore_network
from accelsim.explore.points import Given, Job, side_by_side
from tests.explore.small import write_small

BUDGETS = ((1.1, 1.05), (1e5, 1.2), (1.3, 1.2))  # the second cannot be kept


def explored(model: Path, folder: Path, large: int) -> list[str]:
    """What was said; large: weights from which on files are made side by side."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_network, "PAIRS", PAIRS[1:2])
        patch.setattr(own_network, "BUDGETS", BUDGETS)
        patch.setattr(own_network, "LARGE", large)
        patch.setattr(own_network, "cores", lambda: 2)
        explore_network(model, folder, Wishes(), Asked(images=model.parent / "images.npz"), said.append)
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.dual"))}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, Path, list[str]]:
    """A network, the folder of its files made one after the other, and what was said."""
    folder = tmp_path_factory.mktemp("alone")
    model = write_small(folder)
    return model, folder / "out", explored(model, folder / "out", 1 << 40)


def left_out(said: list[str]) -> list[str]:
    return [line for line in said if "left out" in line]


def test_side_by_side_or_one_after_the_other_the_bytes_are_the_same(alone, tmp_path):
    model, folder, said = alone
    apart = explored(model, tmp_path / "apart", 0)
    assert list(contents(folder)) == ["dense.dual", "sparse-1.1x.dual", "sparse-1.3x.dual"]
    assert contents(folder) == contents(tmp_path / "apart")
    assert "sparse-1.1x: rounding the weights" in apart  # which only a process of its own says of which file
    assert not [line for line in said if line.startswith("sparse-1.1x: rounding")]
    (line,) = left_out(apart)
    assert line.startswith("sparse-100000x is left out: ")
    assert left_out(said) == [line]


def test_a_file_whose_process_dies_is_made_all_the_same(alone, tmp_path, monkeypatch):
    model, folder, said = alone
    monkeypatch.setattr(child.sys, "executable", "/bin/false")
    died = explored(model, tmp_path / "died", 0)
    assert contents(folder) == contents(tmp_path / "died")
    assert [line for line in died if line.startswith("priced")] == [line for line in said if line.startswith("priced")]


def test_whoever_stops_listening_ends_the_processes(tmp_path, monkeypatch):
    """Interrupted while one works: it is gone a moment later, and there is no half of a file."""
    (tmp_path / "slow").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    (tmp_path / "slow").chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(tmp_path / "slow"))
    job = Job("a", Given(tmp_path, Wishes(), Asked()), tmp_path, tmp_path / "a.dual", 2.0, 1.1)
    answers = side_by_side([job], 1, lambda line: None)

    def interrupt_once_it_runs() -> None:
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)  # which wakes it

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
