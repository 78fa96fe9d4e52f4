"""Sparse files of a network's own exploration, made side by side.

Each by a process that reads the network anew and takes the prices of its layers from the work folder.
A job in on standard input; out on standard output, a line of JSON each, what it says and its answer.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from accelsim.compression.importing import Wishes
from accelsim.compression.sparsified import Asked, network_of, read_pictures, sparse_point, sparsifier_of
from accelsim.errors import InputError, NumericalError
from accelsim.explore.child import answers, started
from accelsim.files import write_bytes

LARGE = 1 << 20  # weights: fewer are rounded sooner than a process has started


@dataclass(frozen=True)
class Given:
    """A network and pictures, as the user named them."""

    source: Path
    wishes: Wishes
    asked: Asked


@dataclass(frozen=True)
class Job:
    """One file to be made.

    name: of the file, for people.  work: where the prices of its layers lie.  ratio, cost_reduction: as in
    ``sparse_point``.
    """

    name: str
    given: Given
    work: Path
    out: Path
    ratio: float
    cost_reduction: float

    @property
    def wish(self) -> str:
        """What is asked for."""
        return f"{self.ratio:g} times smaller, {self.cost_reduction:g} times fewer multiplies, at least"


@dataclass(frozen=True)
class Answer:
    """What became of a job: the file is there, or why its budgets cannot be kept; neither if the process died."""

    done: bool = False
    error: str = ""


def side_by_side(jobs: Sequence[Job], workers: int, say: Callable[[str], None]) -> Generator[Answer, None, None]:
    """The answers in the order of the jobs, so many of which are done at a time.

    Closing the iterator ends the processes at once.
    """
    running: list[subprocess.Popen[str]] = []
    ended = threading.Event()

    def run(job: Job) -> Answer:
        answer = Answer()
        with (
            suppress(BrokenPipeError, json.JSONDecodeError),
            started("accelsim.explore.points") as process,
        ):  # killed, perhaps within a line
            running.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            if ended.is_set():
                process.kill()
            process.stdin.write(_JOB.dump_json(job).decode() + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "say" in message:
                    say(f"{job.name}: {message['say']}")
                else:
                    answer = Answer(**message)
        return answer

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        finally:
            ended.set()
            for process in list(running):
                process.kill()


def make(job: Job, say: Callable[[str], None]) -> None:
    """Write the file of a job.

    Raises InputError if its budgets cannot be kept.
    """
    say(job.wish)
    given = job.given
    network = network_of(given.source, given.wishes, _nothing)
    pictures = read_pictures(network, given.asked, _nothing)
    sparsifier = sparsifier_of(network, pictures, given.source, given.asked.tile, job.work, say)
    write_bytes(job.out, sparse_point(sparsifier, job.ratio, job.cost_reduction).sparse.content)


def main() -> None:
    """Do one job, and end where whoever asked for it does."""
    out = answers()

    def tell(message: dict[str, object]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    job = _JOB.validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    try:
        make(job, lambda text: tell({"say": text}))
        tell({"done": True})
    except InputError as error:
        tell({"error": str(error)})
    except (BrokenPipeError, MemoryError, NumericalError):  # who asked makes the file and meets what was wrong
        os._exit(1)


def _end_with(stdin: int) -> None:
    """End this process when its standard input does."""
    while os.read(stdin, 1 << 10):
        pass
    os._exit(1)


def _nothing(text: str) -> None:
    """Say nothing: the exploration has said it already."""


_JOB = TypeAdapter(Job)

if __name__ == "__main__":
    main()
