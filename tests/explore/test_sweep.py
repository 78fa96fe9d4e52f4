"""A sweep loses nothing and repeats nothing, whatever ends it; and the same sweep gives the same bytes anywhere."""

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.explore import local, sweep
from accelsim.explore.estimate import estimate
from accelsim.explore.evaluate import Outcome, Task, evaluate
from accelsim.explore.store import FILE_NAME, Store, checksum
from accelsim.explore.sweep import read_sweep, run_sweep
from accelsim.explore.tasks import read_tasks
from accelsim.files import alone_in
from tests.explore.small import write_small, write_sweep
from tests.laws import ALL

MANY: dict[str, list[float]] = {
    "lanes": [64, 128, 256],
    "rows": [2, 4],
    "bandwidth": [1.6, 3.2, 6.4, 12.8],
    "clock_mhz": [200, 400, 600, 800],
}
KILLS = 20 if ALL else 3
FORK = multiprocessing.get_context("fork")


def many_points(folder: Path) -> Path:
    """288 points."""
    return write_sweep(folder, axes={**MANY, "rows": [2, 4, 8]})


def some_points(folder: Path, clocks: int = 2) -> Path:
    """48 points a clock."""
    return write_sweep(folder, axes={**MANY, "clock_mhz": MANY["clock_mhz"][:clocks]})


def logged(task: Task, log: Path) -> Outcome:
    """Evaluate a task and write its key down."""
    outcome = evaluate(task)
    with log.open("a") as stream:
        stream.write(task.key + "\n")
    return outcome


def start(path: Path, folder: Path, log: Path) -> multiprocessing.Process:
    """A sweep in a process of its own."""

    def body() -> None:
        local.evaluate = lambda task: logged(task, log)
        run_sweep(path, folder, workers=1)

    process = FORK.Process(target=body)
    process.start()
    return process


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def finished(folder: Path) -> set[str]:
    if not (folder / FILE_NAME).exists():
        return set()
    with Store(folder / FILE_NAME) as store:
        return store.finished()


def test_a_sweep_killed_many_times_loses_and_repeats_no_finished_point(tmp_path: Path) -> None:
    path, folder, log = some_points(tmp_path, 4 if ALL else 1), tmp_path / "out", tmp_path / "log"
    rng = random.Random(7)
    read_tasks(path)  # what is cached once is cached for all children
    kills = 0
    for _ in range(KILLS):
        before, seen = finished(folder), len(lines(log))
        process = start(path, folder, log)
        wanted, limit = rng.randint(0, 10), time.monotonic() + 60
        while process.is_alive() and len(lines(log)) < seen + wanted and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        kills += process.is_alive()
        process.kill()
        process.join()
        after = finished(folder)
        assert before <= after  # nothing lost
        assert not before & set(lines(log)[seen:])  # nothing repeated
        assert len(set(lines(log)) - after) <= kills  # a kill costs no more than the point it fell on
    assert kills == KILLS
    run_sweep(path, folder, workers=1)
    run_sweep(path, tmp_path / "undisturbed", workers=1)
    assert (folder / "points.csv").read_bytes() == (tmp_path / "undisturbed/points.csv").read_bytes()


def test_the_same_sweep_twice_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sweep(tmp_path)
    first = run_sweep(path, tmp_path / "out", workers=1)
    assert first.counts == {"done": 24, "failed": 0, "crashed": 0, "missing": 0}

    def refuse(*_: object) -> None:
        raise AssertionError("a stored point was computed again")

    monkeypatch.setattr(local, "evaluate", refuse)
    again = run_sweep(path, tmp_path / "out", workers=1)
    assert again.table.equals(first.table)


def test_a_grown_sweep_computes_what_is_new_alone(tmp_path: Path) -> None:
    run_sweep(write_sweep(tmp_path), tmp_path / "out", workers=1)
    axes = {"lanes": [64, 256], "rows": [4, 8, 16], "bandwidth": [3.2, 12.8, 25.6]}
    grown = write_sweep(tmp_path, axes=axes)
    assert estimate(grown, tmp_path / "out", replace=True).pending == 12
    assert estimate(grown, tmp_path / "out", replace=True).points == 36


def test_workers_change_no_byte(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    for workers in (1, 2):
        run_sweep(path, tmp_path / str(workers), workers=workers)
    assert (tmp_path / "1/points.csv").read_bytes() == (tmp_path / "2/points.csv").read_bytes()


def test_a_failing_point_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    machine = {"pe_array.rows": "rows", "pe_array.cols": "lanes / rows", "buffers.weight_kb": "weight_kb"}
    families = {kind: {"base": f"{kind}-16x16", "set": machine} for kind in ("spatial", "winograd")}
    axes = {"lanes": [64], "rows": [4, 5], "weight_kb": [0.01, 64]}
    path = write_sweep(tmp_path, axes=axes, machines=families)
    done = run_sweep(path, tmp_path / "out", workers=1)
    assert done.counts == {"done": 2, "failed": 6, "crashed": 0, "missing": 0}
    table = done.table.set_index(["family", "rows", "weight_kb"])
    assert "buffers.weight_kb" in table.loc[("spatial", 4, 0.01), "error"]
    assert "pe_array.cols" in table.loc[("spatial", 5, 64), "error"]
    assert table.loc[("winograd", 4, 64), "cycles"] > 0


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_done(tmp_path: Path) -> None:
    path, folder = some_points(tmp_path), tmp_path / "out"

    def body() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            run_sweep(path, folder, workers=1)
        except InputError as error:
            (tmp_path / "error").write_text(str(error))

    process = FORK.Process(target=body)
    process.start()
    process.join()
    assert "run the sweep again to go on" in (tmp_path / "error").read_text()
    stored = finished(folder)
    assert 0 < len(stored) < 96
    assert run_sweep(path, folder, workers=1).counts["done"] == 96
    assert stored < finished(folder)


def sweep_process(path: Path, folder: Path, workers: int) -> "subprocess.Popen[str]":
    """A sweep in a fresh interpreter, as a user's command runs it."""
    code = (
        "import signal, sys; from pathlib import Path; from accelsim.explore.sweep import run_sweep\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores Ctrl-C\n"
        "try: run_sweep(Path(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[3]))\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(folder), str(workers)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def children(pid: int) -> list[int]:
    """Processes that a process started, all its threads."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs (and is no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(folder: Path, points: int) -> None:
    limit = time.monotonic() + 120
    while len(finished(folder)) < points:
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.slow  # four interpreters
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_sweep_and_a_lost_worker_is_replaced(tmp_path: Path, how: signal.Signals) -> None:
    path, folder = some_points(tmp_path), tmp_path / "out"
    process = sweep_process(path, folder, 2)
    wait_for(folder, 3)
    crew = children(process.pid)
    assert len(crew) == 2
    os.kill(crew[0], signal.SIGKILL)
    wait_for(folder, 12)
    crew = sorted({*crew, *children(process.pid)})
    os.kill(process.pid, how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in said
    limit = time.monotonic() + 30
    while any(alive(pid) for pid in crew):
        assert time.monotonic() < limit
        time.sleep(0.02)
    with Store(folder / FILE_NAME) as store:  # the point that was lost with its worker was tried again, not recorded
        assert all(outcome.status == "done" for outcome in store.get(store.finished()))


def test_a_point_that_no_worker_survives_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sweep(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        crashed = run_sweep(path, tmp_path / "out", workers=2)
    assert crashed.counts["crashed"] == 24
    assert crashed.table["error"].str.contains("the worker process died 2 times").all()
    assert run_sweep(path, tmp_path / "out", workers=1).counts["done"] == 24  # tried again the next time


def test_another_model_or_machine_is_another_result(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    keys = set(read_tasks(path).unique)
    assert len(keys) == 24
    write_small(tmp_path, seed=1)
    assert not keys & set(read_tasks(path).unique)


def test_names_and_places_are_no_part_of_a_result(tmp_path: Path) -> None:
    first = set(read_tasks(write_sweep(tmp_path)).unique)
    moved = tmp_path / "elsewhere"
    other = write_sweep(moved, name="another", description="words")
    text = other.read_text().replace("spatial:", "array:")
    other.write_text(text)
    assert set(read_tasks(other).unique) == first


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    found = estimate(path, tmp_path / "out", workers=2)
    assert (found.points, found.stored, found.pending) == (24, 0, 24)
    assert found.seconds is not None
    assert 0 < found.seconds < 60
    assert not (tmp_path / "out").exists()


def test_a_foreign_file_is_no_store(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / FILE_NAME).write_text("not a database, and long enough to look at" * 10)
    with pytest.raises(InputError, match="expected the results of a sweep"):
        run_sweep(path, folder, workers=1)


def test_accuracy_is_measured_once_for_each_variant_and_kind(tmp_path: Path) -> None:
    models = [{"path": "small.dual", "winograd_sparsity": [0.3, 0.9]}]
    path = write_sweep(tmp_path, models=models, accuracy={"images": "images.npz"})
    laid = read_tasks(path)
    assert sum(task.kind == "accuracy" for task in laid.unique.values()) == 1 + 2
    table = run_sweep(path, tmp_path / "out", workers=1).table
    assert (table.groupby(["family", "winograd_sparsity"], dropna=False)["top1"].nunique() == 1).all()
    assert table["images"].eq(40).all()


def test_sweep_is_what_the_module_says(tmp_path: Path) -> None:
    done = run_sweep(write_sweep(tmp_path), tmp_path / "out", workers=1)
    assert isinstance(done, sweep.Sweep)
    assert set(done.layers["point"]) == set(done.table["point"])
    sums = done.layers.groupby("point")["cycles"].sum()
    assert (sums.to_numpy() == done.table["cycles"].to_numpy()).all()


TABLE = """name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,padding,weight_density
c1,conv,8,16,12,12,3,3,1,0.4
fc,linear,16,10,1,1,1,1,0,1
"""
TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
c1, 14, 14, 3, 3, 8, 16, 1,
"""


def test_tables_without_weights_are_models_whose_results_are_synthetic(tmp_path: Path) -> None:
    (tmp_path / "network.csv").write_text(TABLE)
    (tmp_path / "topology.csv").write_text(TOPOLOGY)
    path = write_sweep(tmp_path, models=["network.csv", "small.dual", "topology.csv", "alexnet"])
    laid = read_tasks(path)
    models = [point.variant.columns["model"] for point in laid.points[::24]]
    assert models == ["network", "small", "topology", "alexnet"]
    path = write_sweep(
        tmp_path,
        models=["network.csv", "small.dual", "topology.csv"],
        axes={"lanes": [64], "rows": [8], "bandwidth": [3.2]},
    )
    done = run_sweep(path, tmp_path / "out", workers=1)
    assert done.counts["done"] == len(done.table) == 6
    assert done.synthetic == ["network", "topology"]
    for name in done.synthetic:
        row = done.table[(done.table["model"] == name) & (done.table["family"] == "spatial")].iloc[0]
        settings = ["pe_array.rows=8", "pe_array.cols=8", "dram.bandwidth_gbs=3.2"]
        machine = accelsim.load_hardware("spatial-16x16", settings)
        alone = accelsim.simulate(accelsim.load_workload(tmp_path / f"{name}.csv"), machine, engine="fast")
        assert row["cycles"] == alone.total["cycles"]


def test_a_table_cannot_be_pruned(tmp_path: Path) -> None:
    (tmp_path / "network.csv").write_text(TABLE)
    models = [{"path": "network.csv", "winograd_sparsity": [0.5]}]
    with pytest.raises(InputError, match=r"network.csv: winograd_sparsity of a table, .* expected a .dual file"):
        read_tasks(write_sweep(tmp_path, models=models))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zlib.compress(bytes(1 << 27)), "bytes, expected those of a sweep"),
        (b"no zlib", "expected the points of a sweep"),
        (zlib.compress(b"{}"), "'point', expected the points of a sweep"),
        (zlib.compress(b"[" * 100_000), "expected the points of a sweep"),
    ],
    ids=["bomb", "no-zlib", "no-point", "deep"],
)
def test_points_that_somebody_else_has_stored_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """With the checksum that belongs to them."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "sweep.yaml").write_bytes(write_sweep(tmp_path).read_bytes())
    with Store(folder / FILE_NAME) as store:
        store.put_points(["{}"])
        store._db.execute("UPDATE points SET content = ?, checksum = ?", (content, checksum(0, content)))
    with pytest.raises(InputError, match=words):
        read_sweep(folder)


def test_a_sweep_without_a_name_goes_on_in_its_folder(tmp_path: Path) -> None:
    """Its name is then that of its file, which is another in the folder."""
    path = write_sweep(tmp_path, axes={"lanes": [64], "rows": [4], "bandwidth": [3.2]})
    path = path.rename(tmp_path / "mine.yaml")
    first = run_sweep(path, tmp_path / "out", workers=1)
    assert run_sweep(path, tmp_path / "out", workers=1).table.equals(first.table)


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    """Neither mixes its points into the other's; whoever holds the folder is refused nothing once it is let go."""
    sweep = write_sweep(tmp_path, axes={"lanes": [64], "rows": [4], "bandwidth": [3.2]})
    with alone_in(tmp_path / "out", "mine"), pytest.raises(InputError, match="another sweep is running there"):
        run_sweep(sweep, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()  # nothing was written, so the folder that was made goes
    assert run_sweep(sweep, tmp_path / "out", workers=1).counts["done"] == 2
