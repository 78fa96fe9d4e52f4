"""The DRAM model beside the figures of two published simulators, and beside single commands (``commands``)."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelsim.hardware.dram_types import DramType, dram_types
from experiments.dram.commands import DEVICES, Device, Run, simulate
from experiments.dram.patterns import REFERENCE, SEVERAL, Modelled, Pattern, bursts_of, modelled

TABLE = Path(__file__).with_name("reference.csv")
UNDER_WAY = 64  # bursts of a channel, as in the reference
# The reference's DRAMsim3 has two ranks (its presets' capacity; 4 rows of LPDDR4 in 24 ns break one rank's tFAW),
# Ramulator 2.1 one.
RANKS = {"DRAMsim3": 2, "Ramulator 2.1": 1}


@dataclass(frozen=True)
class Published:
    """A pattern by a published simulator, and by ours.  Energies are DRAMsim3's, None of the other."""

    dram: DramType
    type_name: str
    pattern: Pattern
    simulator: str
    label: str
    ns: float
    rows: int
    command_pj: float | None
    standby_pj: float | None
    model: Modelled


def published() -> Iterator[Published]:
    """The reference's patterns, those whose requests wait for nothing but the DRAM."""
    with TABLE.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            pattern = REFERENCE[row["pattern"]]()
            for simulator, column in (("DRAMsim3", "dramsim3_ns"), ("Ramulator 2.1", "ramulator2_ns")):
                if not row[column]:
                    continue
                dram = replace(dram_types()[row["dram"]], ranks=RANKS[simulator])
                ours = simulator == "DRAMsim3"
                yield Published(
                    dram=dram,
                    type_name=row["dram"],
                    pattern=pattern,
                    simulator=simulator,
                    label=row["pattern"],
                    ns=float(row[column]),
                    rows=int(row["acts"]),
                    command_pj=float(row["command_pj"]) if ours else None,
                    standby_pj=float(row["standby_pj"]) if ours else None,
                    model=modelled(dram, pattern),
                )


@dataclass(frozen=True)
class Judged:
    """A pattern command by command, and by the model."""

    type_name: str
    label: str
    commands: Run
    model: Modelled


def judged(patterns: Sequence[Pattern]) -> Iterator[Judged]:
    """Patterns that the reference does not have, on all types."""
    for type_name, device in DEVICES.items():
        dram = dram_types()[type_name]
        for pattern in patterns:
            yield _judged(type_name, dram, device, pattern)


def several() -> Iterator[Judged]:
    """Patterns on several channels, more of them than a type has and fewer."""
    for type_name, times, own, pattern in SEVERAL:
        plain = dram_types()[type_name]
        wide = replace(plain, inner_channels=times * plain.inner_channels, bandwidth_gbs=times * plain.bandwidth_gbs)
        dram = replace(wide, **own)  # type: ignore[arg-type]
        said = "".join(f", {key} {value:g}" for key, value in own.items() if key != "bandwidth_gbs")
        name = f"{type_name}{said}" if times == 1 else f"{times} x {type_name}"
        yield _judged(name, dram, DEVICES[type_name], pattern)


def _judged(name: str, dram: DramType, device: Device, pattern: Pattern) -> Judged:
    """What ends before the first refresh is modelled without."""
    run = simulate(dram, device, bursts_of(dram, pattern), UNDER_WAY * dram.inner_channels)
    undisturbed = run.ns < dram.t_refi_ns / dram.ranks
    return Judged(name, pattern.name, run, modelled(replace(dram, t_rfc_ns=0.0) if undisturbed else dram, pattern))


def commands_of(case: Published) -> Run:
    """A published case command by command."""
    device = DEVICES[case.type_name]
    return simulate(case.dram, device, bursts_of(case.dram, case.pattern), UNDER_WAY * case.dram.inner_channels)
