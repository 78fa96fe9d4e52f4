"""One network of a user's own, at several sparsities, on matched pairs of machines.

What ``accelsim explore`` computes.

A pair has equal lanes, SRAM, clock and DRAM.  Every file that was made lies in the folder; a run
that was interrupted takes those that are there.
"""

import json
import shlex
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from accelsim.compression.importing import Wishes, eight_bit_file
from accelsim.compression.sparsified import Asked, network_of, read_pictures, sparse_point, sparsifier_of
from accelsim.compression.sparsify import Pictures, Sparsifier, compare
from accelsim.dual.deploy import spatial_densities, winograd_model
from accelsim.dual.file import read_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.explore.points import LARGE, Answer, Given, Job, side_by_side
from accelsim.files import DUAL, alone_in, check_output, read_bytes, write_bytes, write_text
from accelsim.network import Network
from accelsim.results_folder import EXPLORATION, check_kind
from accelsim.simulator.machines import FAMILIES
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.result import Result
from accelsim.simulator.run import run
from accelsim.simulator.verdict import Quantity, band, verdicts
from accelsim.threads import cores
from accelsim.workload import layer_works, made_once

PAIRS = (
    ("spatial-tuned-16x16", "winograd-tuned-16x16"),
    ("spatial-16x16", "winograd-16x16"),
    ("spatial-32x32", "winograd-32x32"),
    ("spatial-64x64", "winograd-64x64"),
)
BUDGETS = ((6.0, 1.8), (12.0, 2.8), (20.0, 4.0))  # ratio of sizes, of multiplies
DENSE = "dense"  # what the first file is called
WORK = "work"  # the folder of what is found on the way
LEVEL = "resident"  # how far the layers run as one network
KEPT_AGREEMENT = 97.0  # %, what a file must keep of the dense network's answers
KEPT_PSNR = 35.0  # dB, of its outputs where it gives pictures
EVEN = 0.005  # relative difference below which neither machine of a pair is ahead

Say = Callable[[str], None]
Show = Callable[["Sequence[Made]", int], None]  # the files so far, and how many are still to be made


@dataclass(frozen=True)
class Made:
    """One file of the network.

    name: of the file.  ratio: float32 size over its own.  figures: how it compares with the dense
    network (``compression.sparsify.compare``), on so many pictures apart.  zeros: percent of its
    weights, and of the Winograd-domain weights of the layers that Winograd serves.  results: of each
    machine of ``PAIRS``, by its name.  doubts: of the chosen file, how far its ratios on the first
    pair move with what nobody measured (``simulator.verdict``).
    """

    name: str
    model: DualModel
    ratio: float
    figures: dict[str, float]
    apart: int
    zeros: tuple[float, float]
    results: dict[str, Result]
    doubts: tuple[str, ...] = ()

    @property
    def kept(self) -> float:
        """The worst of its agreement in both domains, or PSNR."""
        return min((v for k, v in self.figures.items() if k.startswith(("agreement", "psnr"))), default=100.0)

    @property
    def holds(self) -> bool:
        """Whether it still does what the dense network does."""
        return self.kept >= (KEPT_AGREEMENT if any(k.startswith("agreement") for k in self.figures) else KEPT_PSNR)


def explore_network(
    source: Path,
    folder: Path,
    wishes: Wishes,
    asked: Asked,
    say: Say,
    show: Show = lambda found, awaited: None,
) -> list[Made]:
    """The network as it is, at 8 bits, and at each of ``BUDGETS`` that can be kept, on all machines of ``PAIRS``.

    show: called after each file, so that there is a page while the others are made.
    Raises InputError if the network or the pictures cannot be read, another process explores into
    the folder, it holds other results, or the files of another network and ``asked.resume`` is set,
    or what is read lies where something would be written.
    """
    check_kind(folder, EXPLORATION, asked.images)
    for name in (DENSE, *(_name(ratio) for ratio, _ in BUDGETS)):
        check_output(folder / f"{name}.dual", source, asked.images, asked.labels)
    network = network_of(source, wishes, say)
    pictures = read_pictures(network, asked, say)
    with alone_in(folder, "another exploration"):
        return _made_of(Given(source, wishes, asked), network, pictures, folder, say, show)


def _made_of(given: Given, network: Network, pictures: Pictures, folder: Path, say: Say, show: Show) -> list[Made]:
    """The files of a network in a folder, each on all machines."""
    say(f"{DENSE}: the network as it is, 8 bits a weight")
    dense = _dense(network, folder, given.asked)
    figures = compare(network, dense, pictures)
    apart = len(pictures.apart)
    found = [_made(DENSE, dense, figures, apart, say)]
    awaited = len(BUDGETS)
    show(found, awaited)
    with closing(_sparse_files(given, network, pictures, folder, say)) as files:
        for name, model in files:
            awaited -= 1
            if model is not None:
                found.append(_made(name, model, dict(model.accuracy), apart, say))
            if awaited:
                show(found, awaited)
    best = chosen(found)
    say(f"{best.name}: simulated under each assumption that nobody measured")
    found = [replace(made, doubts=_doubts(made)) if made is best else made for made in found]
    show(found, 0)
    write_text(folder / EXPLORATION.file, json.dumps({made.name: made.figures for made in found}, indent=1))
    if len(found) > len(BUDGETS):  # else --resume tries again those that were left out
        shutil.rmtree(folder / WORK, ignore_errors=True)
    return found


def _sparse_files(
    given: Given, network: Network, pictures: Pictures, folder: Path, say: Say
) -> Generator[tuple[str, DualModel | None], None, None]:
    """The file of each of ``BUDGETS`` and its name; None where the budgets cannot be kept.

    Those of a large network are made side by side, a process each: one more than there are cores, for
    much of each waits on one thread.
    """
    work = folder / WORK
    sparsifier = sparsifier_of(network, pictures, given.source, given.asked.tile, work, say)
    jobs = [
        Job(_name(ratio), given, work, folder / f"{_name(ratio)}.dual", ratio, cost_reduction)
        for ratio, cost_reduction in BUDGETS
    ]
    there = {job.name: _there(job.out, network, given.asked) for job in jobs}
    apart: list[Job] = []
    missing = [job for job in jobs if there[job.name] is None]
    if min(cores(), len(missing)) > 1 and sum(array.size for array in network.arrays.values()) >= LARGE:
        with suppress(InputError):  # which each file says
            sparsifier.price_layers()
            apart = missing
    with closing(side_by_side(apart, cores() + 1, say)) as answers:
        for job in jobs:
            model = there[job.name]
            if model is None:
                try:
                    model = _sparse_file(job, sparsifier, next(answers, Answer()), say)
                except InputError as error:
                    say(f"{job.name} is left out: {error}")
            yield job.name, model


def _there(path: Path, network: Network, asked: Asked) -> DualModel | None:
    """The file in the folder, if it is to be resumed with and of this network's shapes."""
    if not asked.resume or not path.is_file():
        return None
    model = read_dual(path)
    return model if model.network.graph == network.graph else None


def _sparse_file(job: Job, sparsifier: Sparsifier, answer: Answer, say: Say) -> DualModel:
    """The file of a job, made here if no other process has.  Raises InputError if its budgets cannot be kept."""
    if answer.error:
        raise InputError(answer.error)
    if answer.done:
        return read_dual(job.out)
    say(f"{job.name}: {job.wish}")
    sparse = sparse_point(sparsifier, job.ratio, job.cost_reduction).sparse
    write_bytes(job.out, sparse.content)
    return sparse.model


def _doubts(made: Made) -> tuple[str, ...]:
    """Time, then energy of the second machine of the first pair over the first one's, with their bands."""
    first = [machine for machine in machines() if machine.name in PAIRS[0]]
    cases = band(made_once(layer_works(made.model)), first, LEVEL)
    asked: tuple[Quantity, ...] = ("latency", "energy")
    found = [verdict for quantity in asked for verdict in verdicts(cases, quantity)]
    return tuple(f"What nobody measured: with {made.name}, {verdict.sentence}." for verdict in found)


def _name(ratio: float) -> str:
    return f"sparse-{ratio:g}x"


def _dense(network: Network, folder: Path, asked: Asked) -> DualModel:
    """The network at 8 bits, the first file of an exploration, by which one is known again.

    Without ``asked.resume``, or where that file is gone and nothing says whose they are, the sparse
    files of an earlier one go.  Raises InputError if the files to resume with are of another
    network, or were made with other pictures.
    """
    path = folder / f"{DENSE}.dual"
    content = eight_bit_file(network, asked.images)
    known = asked.resume and path.is_file()
    if known and read_bytes(path, DUAL) != content:
        raise InputError(
            f"{path}: of another network or of other pictures, expected those that --resume is to go on with"
        )
    if not known:
        for ratio, _ in BUDGETS:
            (folder / f"{_name(ratio)}.dual").unlink(missing_ok=True)
    write_bytes(path, content)
    return read_dual(path)


def command(file: str, *machines: str) -> str:
    """The command that gives the figures of a file again, in the folder that holds it."""
    what = "simulate" if len(machines) == 1 else "compare"
    return shlex.join(["accelsim", what, f"{file}.dual", *machines, "--engine", "fast", "--level", LEVEL])


def _made(name: str, model: DualModel, figures: dict[str, float], apart: int, say: Say) -> Made:
    results = {}
    works = layer_works(model)
    for machine in machines():
        results[machine.name] = run(works, machine, name, "fast", level=LEVEL)
    say(f"{name}: simulated on {len(results)} machines")
    ratio = 4 * model.parameters / max(1, model.file_bytes)
    return Made(name, model, ratio, figures, apart, _zeros(model), results)


def _zeros(model: DualModel) -> tuple[float, float]:
    """Percent of zeros in each domain; 0 in the Winograd domain where it serves no layer."""
    weights = [model.network.arrays[f"{name}.weight"] for name in spatial_densities(model)]
    shares = []
    for arrays in (weights, list(winograd_model(model).values())):
        size = sum(array.size for array in arrays)
        shares.append(100 - 100 * sum(int(np.count_nonzero(array)) for array in arrays) / size if size else 0.0)
    return shares[0], shares[1]


def machines() -> list[Machine]:
    """The machines of ``PAIRS``."""
    return [load_hardware(name, (), FAMILIES) for pair in PAIRS for name in pair]


def chosen(found: Sequence[Made]) -> Made:
    """The smallest file that still does what the dense network does, or of none that does the one that keeps most."""
    return max((made for made in found if made.holds), key=lambda made: made.ratio, default=_closest(found))


def _closest(found: Sequence[Made]) -> Made:
    return max(found, key=lambda made: made.kept)


def sentences(found: Sequence[Made]) -> list[str]:
    """Which machine, at which sparsity, why, and what would turn it.

    Every figure is in the tables.
    """
    best = chosen(found)
    lines = [_of_choice(best)]
    for pair in PAIRS:
        lines.append(_of_pair(best, pair))
    lines += best.doubts
    lines.append(_band(found, "cycles", "cycles", "which one is faster"))
    lines.append(_band(found, "energy_pj", "energy", "which one takes less energy"))
    lines.append(_why(best, PAIRS[0]))
    return lines


def _of_choice(best: Made) -> str:
    """Which file the other sentences are about, and what it keeps."""
    answers = any(key.startswith("agreement") for key in best.figures)
    unit = "% agreement" if answers else "dB PSNR"
    least = f"{KEPT_AGREEMENT:g} % of the dense network's answers" if answers else f"{KEPT_PSNR:g} dB PSNR"
    first = f"The smallest file that keeps at least {least} in both domains is {best.name}"
    if not best.holds:
        first = f"No file keeps {least} in both domains; the one that keeps most is {best.name}"
    return (
        f"{first}: {best.ratio:.1f} times smaller than float32, {best.zeros[0]:.1f} % of its weights and "
        f"{best.zeros[1]:.1f} % of its Winograd-domain weights are zero, {best.kept:.1f} {unit} with the dense network "
        f"in the worse domain, on the {best.apart} pictures that were kept apart."
    )


def _ratio(made: Made, pair: tuple[str, str], column: str) -> float:
    """The second machine's figure over the first one's."""
    spatial, winograd = (float(made.results[name].total[column]) for name in pair)
    return winograd / spatial if spatial else 1.0


def _of_pair(made: Made, pair: tuple[str, str]) -> str:
    time, energy = (_ratio(made, pair, column) for column in ("cycles", "energy_pj"))
    fast = "even" if abs(time - 1) < EVEN else pair[0] if time > 1 else pair[1]
    thrift = "even" if abs(energy - 1) < EVEN else pair[0] if energy > 1 else pair[1]
    first = "both take as long" if fast == "even" else f"{fast} is faster"
    second = "both take as much energy" if thrift == "even" else f"{thrift} takes less energy"
    winners = f"{fast} is faster and takes less energy" if fast == thrift != "even" else f"{first}, {second}"
    figures = f"{pair[1]} takes {time:.2f} times the cycles and {energy:.2f} times the energy of {pair[0]}"
    return f"With {made.name}, {winners}: {figures}."


def _band(found: Sequence[Made], column: str, what: str, verdict: str) -> str:
    """The smallest and the largest ratio of a column over all sparsities and sizes.

    And whether the verdict turns.
    """
    ratios = [(made.name, pair, _ratio(made, pair, column)) for made in found for pair in PAIRS]
    low = min(ratios, key=lambda entry: entry[2])
    high = max(ratios, key=lambda entry: entry[2])
    turns = (
        "sparsity or size turns" if low[2] <= 1 - EVEN and high[2] >= 1 + EVEN else "neither sparsity nor size turns"
    )
    return (
        f"Over all sparsities and sizes a Winograd machine takes {low[2]:.2f} ({low[0]}, {low[1][1]}) to {high[2]:.2f} "
        f"({high[0]}, {high[1][1]}) times the {what} of its partner: {turns} {verdict}."
    )


def _why(made: Made, pair: tuple[str, str]) -> str:
    """The layers that decide between a pair, and what bounds each machine there."""
    spatial, winograd = (made.results[name].layers for name in pair)
    gaps = winograd["cycles"].to_numpy(float) - spatial["cycles"].to_numpy(float)
    order = sorted(range(len(gaps)), key=lambda i: -abs(gaps[i]))[:3]
    parts = [
        f"{spatial['name'].iloc[i]} ({gaps[i]:+,.0f}; bound by "
        f"{_both(spatial['bound'].iloc[i], winograd['bound'].iloc[i])})"
        for i in order
        if gaps[i]
    ]
    if not parts:
        return f"No layer takes other cycles on {pair[1]} than on {pair[0]}."
    return (
        f"Between {pair[0]} and {pair[1]} these layers decide most, in cycles more or less on the latter: "
        f"{', '.join(parts)}."
    )


def _both(one: str, other: str) -> str:
    """What is said of two machines, once where it is the same."""
    return f"{one} on both" if one == other else f"{one} and {other}"
