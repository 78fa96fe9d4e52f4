"""The commands of docs/cluster.md run on real Dask clusters here; a small program stands for Slurm's srun."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.explore.small import write_sweep
from tests.test_docs import block_of

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

ON_A_CLUSTER = block_of("docs/cluster.md", "bash", "pip install")
BATCH_SCRIPT = block_of("docs/cluster.md", "bash", "#!/bin/bash")
SRUN = """\
#!/bin/bash
# One task, here.
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
LIMIT = 180  # seconds


@contextmanager
def running(script: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A script, and all that it starts, to be ended with it; what it says is in ``log`` of the folder."""
    path = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7", "OPENBLAS_NUM_THREADS": "1"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def log(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sweep that the page speaks of."""
    write_sweep(tmp_path).rename(tmp_path / "SWEEP.yaml")
    (tmp_path / "bin").mkdir()
    return tmp_path


def test_the_batch_script_runs_its_sweep(folder: Path) -> None:
    srun = folder / "bin" / "srun"
    srun.write_text(SRUN, encoding="utf-8")
    srun.chmod(0o755)
    with running(BATCH_SCRIPT, folder) as job:
        assert job.wait(LIMIT) == 0, log(folder)
    assert (folder / "DIR" / "report.html").is_file()
    assert not list(folder.glob("scheduler-*.json"))


def test_a_sweep_finds_a_cluster_by_its_address_and_by_its_file(folder: Path) -> None:
    _, by_address, by_file = ON_A_CLUSTER.splitlines()
    where = folder / "scheduler.json"
    scheduler = "dask scheduler --scheduler-file scheduler.json --host 127.0.0.1 --port 0 --no-dashboard & "
    worker = "dask worker --scheduler-file scheduler.json --nthreads 1 --no-dashboard"
    with running(scheduler + worker, folder):
        limit = time.monotonic() + LIMIT
        while not where.exists():
            assert time.monotonic() < limit
            time.sleep(0.1)
        address = json.loads(where.read_text(encoding="utf-8"))["address"]
        for line in (by_address.replace("tcp://HOST:8786", address), by_file.replace("DIR", "OTHER")):
            with running(line, folder) as sweep:
                assert sweep.wait(LIMIT) == 0, log(folder)
    points = [(folder / name / "points.csv").read_bytes() for name in ("DIR", "OTHER")]
    assert points[0] == points[1]
    assert points[0].count(b"\n") > 1
