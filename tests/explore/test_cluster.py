"""A real Dask cluster that loses a worker in mid-sweep finds what a local run finds, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelsim.errors import InputError
from accelsim.explore.store import FILE_NAME, Store
from accelsim.explore.sweep import run_sweep
from tests.explore.small import write_sweep
from tests.explore.test_sweep import many_points

pytest.importorskip("distributed")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Path, "list[subprocess.Popen[bytes]]"]]:
    """A scheduler (its file) and two workers of one thread, as processes."""
    where = tmp_path / "scheduler.json"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}

    def start(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(where), *arguments]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment, cwd=tmp_path)

    processes = [start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
    limit = time.monotonic() + 120
    while not where.exists():
        assert time.monotonic() < limit
        time.sleep(0.1)
    workers = [
        start("dask_worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--name", f"w{i}") for i in range(2)
    ]
    try:
        yield where, workers
    finally:
        for process in (*workers, *processes):
            process.kill()
            process.wait()


def test_a_cluster_that_loses_a_worker_finds_the_same_bytes(
    tmp_path: Path, cluster: "tuple[Path, list[subprocess.Popen[bytes]]]"
) -> None:
    where, workers = cluster
    from distributed import Client

    with Client(scheduler_file=str(where), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
    path, folder = many_points(tmp_path), tmp_path / "cluster"
    seen = []

    def kill_one(done: int, failed: int, total: int) -> None:
        seen.append((done, failed, total))
        if done == 20:
            workers[0].send_signal(signal.SIGKILL)

    run_sweep(path, folder, scheduler=str(where), progress=kill_one)
    workers[0].wait(timeout=10)
    assert workers[1].poll() is None
    assert [done for done, _, _ in seen] == list(range(1, 289))  # every point exactly once
    assert seen[-1] == (288, 0, 288)
    run_sweep(path, tmp_path / "local", workers=1)
    assert (folder / "points.csv").read_bytes() == (tmp_path / "local/points.csv").read_bytes()
    with Store(folder / FILE_NAME) as here, Store(tmp_path / "local" / FILE_NAME) as there:
        keys = sorted(here.finished())
        assert keys == sorted(there.finished())
        assert list(here.get(keys)) == list(there.get(keys))


def test_no_cluster_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.explore.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=r"--scheduler tcp://127\.0\.0\.1:1: no Dask scheduler answers"):
        run_sweep(write_sweep(tmp_path), tmp_path / "out", scheduler="tcp://127.0.0.1:1")
