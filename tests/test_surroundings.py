"""What a command's surroundings may be: a pipe that nobody reads, a terminal of no width."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.small_dual import ROOT, write_small


def _run(*arguments, stdout, env=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | (env or {})
    line = [sys.executable, "-m", "accelsim", *map(str, arguments)]
    return subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_that_has_gone_is_no_failed_check(tmp_path, flags):
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = _run("simulate", write_small(tmp_path / "n.dual"), "spatial-16x16", *flags, stdout=writes)
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (128 + 13, b"")  # of SIGPIPE, as a shell says it


@pytest.mark.parametrize("columns", ["0", "1", "abc"])
def test_a_terminal_of_no_width_is_written_to(columns):
    done = _run("machines", stdout=subprocess.PIPE, env={"COLUMNS": columns})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"spatial-16x16" in done.stdout


COMPLETIONS = [
    {},
    {"COMP_WORDS": "accelsim "},
    {"COMP_WORDS": "accelsim ", "COMP_CWORD": "x"},
    *({"_ACCELSIM_COMPLETE": instruction} for instruction in ("nonsense", "complete_", "complete_cmd", "bash")),
]


@pytest.mark.parametrize("given", COMPLETIONS)
def test_what_no_shell_asks_for_as_a_completion_is_one_line(given):
    done = _run(stdout=subprocess.PIPE, env={"_ACCELSIM_COMPLETE": "complete_bash"} | given)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), done.stderr
    assert done.stderr.startswith(b"error: _ACCELSIM_COMPLETE: ")


def test_a_shell_s_completion_is_answered():
    given = {"_ACCELSIM_COMPLETE": "complete_bash", "COMP_WORDS": "accelsim mach", "COMP_CWORD": "1"}
    done = _run(stdout=subprocess.PIPE, env=given)
    assert (done.returncode, done.stdout.strip()) == (0, b"machines")


@pytest.mark.parametrize("backend", ["nonsense", "TkAgg", "module://a_notebook_s"])
def test_a_backend_for_windows_or_notebooks_is_not_asked_for(tmp_path, backend):
    """Pictures go to files.  A shell within a notebook hands its backend on to a Python that may not have it."""
    done = _run("report", tmp_path, stdout=subprocess.PIPE, env={"MPLBACKEND": backend})
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(b"error: ")
    assert b"totals.csv: No such file" in done.stderr


INTERRUPTED = """
import sys

class Typing:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Typing())
from accelsim.__main__ import run
sys.exit(run())
"""


def test_ctrl_c_while_the_program_is_being_read_is_no_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


SWEEP = """
name: small
models: [n.dual]
axes: {rows: [4, 8, 16, 32]}
machines: {array: {base: spatial-16x16, set: {pe_array.rows: rows}}}
report: {objectives: [cycles, energy_pj]}
"""


def children(pid):
    """Processes that any thread of a process has started, by Linux's account."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for each in lists for child in each.read_text().split()]


def test_ctrl_c_early_in_a_sweep_is_the_sweeps_alone(tmp_path):
    """A terminal sends it to all processes of a command, and workers were still being read then."""
    write_small(tmp_path / "n.dual")
    (tmp_path / "s.yaml").write_text(SWEEP)
    line = [sys.executable, "-m", "accelsim", "sweep", "s.yaml", "-o", "out", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run in the background
    with subprocess.Popen(
        line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, process_group=0, preexec_fn=heeding
    ) as sweep:
        end = time.monotonic() + 300
        while not children(sweep.pid):
            assert sweep.poll() is None, "ended before it had a worker"
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.1)
        os.killpg(sweep.pid, signal.SIGINT)
        said = sweep.communicate(timeout=300)[1]
    assert sweep.returncode == 130
    assert b"Traceback" not in said
