"""Write reports/dram.md, the DRAM model beside cycle-accurate simulators: ``python -m experiments.dram``."""

from collections.abc import Sequence

from accelsim.files import write_text
from experiments.comparisons.row import errors
from experiments.dram.compare import Judged, Published, commands_of, judged, published, several
from experiments.dram.patterns import OTHERS, TURNS
from experiments.paths import REPORTS

HEAD = """# The DRAM model beside cycle-accurate simulators

Written by `python -m experiments.dram`. The model is the closed form of `accelsim/hardware/dram.py`; its figures are
those of datasheets (`accelsim/hardware/data/dram.csv`), none is fitted.

## Two published simulators

DRAMsim3 (two ranks) and Ramulator 2.1 (one), open page, a mapping that keeps bank groups alternating, 64 bursts under
way; measured in November 2026, `experiments/dram/reference.csv`. *stream*: 1 MiB in requests of that size. *14 rows x
28 of 56x56x64*: tiles of a map in planes of 16 channels, the map six times. *one plane of 14x14x512 each*: a request a
plane, the map eight times. *read 4 KB, write 4 KB*: by turns, the writes 64 MiB behind. *random*: 4,096 bursts.
The column *commands* is our own simulation of each single command, `experiments/dram/commands.py`, the judge of the
second table.

| DRAM | pattern | simulator | ns | model | error | commands | error |
|---|---|---|---|---|---|---|---|
"""
ENERGY = """
## Energy of commands

Rows opened, reads, writes and refreshes by DRAMsim3 beside the model. Rows that a refresh closed are opened again there
and not in the model: 35 of the 163 of a stream. LPDDR4's currents are not the same: the reference's standby is that of
two ranks at the currents of DRAMsim3's preset for 2400 MT/s, one supply, and its rows cost twice ours; the model has
those after Micron's datasheets, both supplies. So LPDDR4's rows tell how far such figures lie apart, not how well
commands are counted.

| DRAM | pattern | rows | model | commands, nJ | model | error | standby, nJ | model | error |
|---|---|---|---|---|---|---|---|---|---|
"""
JUDGED = """
## Other types and patterns

Patterns that no figure above has, on all types, against the simulation of single commands: 64 bursts a channel under
way. Runs that end before the first refresh, as HBM2's do, are modelled without; the model spreads refreshes over any
run.

| DRAM | pattern | commands, ns | model | error | rows | model |
|---|---|---|---|---|---|---|
"""

BY_TURNS = """
## Small requests by turns

Controllers gather writes, so that small ones share turns of the bus. The model posts writes: fewer than 32 bursts of
them between reads pay a share of the turns, 32 being the write queue of a channel in DRAMsim3 (`trans_queue_size`) and
Ramulator 2 (`ReqBuffer`) by default. The single commands know no such queue: of 64 bursts under way, reads and writes,
they serve what can go out first. Nothing is fitted to them; 64 in place of 32 would have a mean error of 2.4 % and a
worst of 13.8 % in the table above. What is left on GDDR6: rows, which the model opens for every small request and a
controller once for all that it has gathered; short reads between long writes are gathered, too, which the model's are
not.

| DRAM | pattern | commands, ns | model | error | rows | model |
|---|---|---|---|---|---|---|
"""

SEVERAL = """
## Several channels

Against the simulation of single commands, too. The model takes the busiest channel's share of all bursts. It was made
after *512 B at random* on HBM2 above: with its requests dealt evenly over the channels commands take 1,068 ns, and with
none of tRAS, tRTP and tWR still 1,404, so it is the channels that are unequally busy, not banks that wait. The patterns
below were looked at for the first time when it was made. With 16 bursts a channel under way in place of 64 that pattern
takes 1,835 ns: a DMA that runs less far ahead waits longer for the busiest channel than the model says.

| DRAM | pattern | commands, ns | model | error | rows | model |
|---|---|---|---|---|---|---|
"""


def percent(ours: float, theirs: float) -> str:
    """A signed error."""
    return f"{100 * (ours / theirs - 1):+.1f} %"


def summary(what: str, pairs: Sequence[tuple[float, float]]) -> str:
    """Mean and worst error in a sentence."""
    mean, worst = errors(pairs)
    return f"{what}: {len(pairs)} cases, mean error {mean:.1f} %, worst {worst:.1f} %.\n"


def reference_section(cases: Sequence[Published]) -> str:
    """The first table."""
    lines = []
    runs = [commands_of(case) for case in cases]
    for case, run in zip(cases, runs, strict=True):
        model = f"{case.model.ns:,.0f} | {percent(case.model.ns, case.ns)}"
        lines.append(
            f"| {case.type_name} | {case.label} | {case.simulator} | {case.ns:,.0f} | {model} | "
            f"{run.ns:,.0f} | {percent(run.ns, case.ns)} |\n"
        )
    model = summary("Model", [(case.model.ns, case.ns) for case in cases])
    commands = summary("Commands", [(run.ns, case.ns) for case, run in zip(cases, runs, strict=True)])
    return HEAD + "".join(lines) + f"\n{model}{commands}"


def energy_section(cases: Sequence[Published]) -> str:
    """The second table."""
    lines = []
    pairs: dict[str, list[tuple[float, float]]] = {}
    for case in cases:
        if case.command_pj is None or case.standby_pj is None:
            continue
        model = case.model
        pairs.setdefault(case.type_name, []).append((model.command_pj, case.command_pj))
        lines.append(
            f"| {case.type_name} | {case.label} | {case.rows:,} | {model.rows:,} | {case.command_pj / 1e3:,.0f} | "
            f"{model.command_pj / 1e3:,.0f} | {percent(model.command_pj, case.command_pj)} | "
            f"{case.standby_pj / 1e3:,.0f} | {model.standby_pj / 1e3:,.0f} | "
            f"{percent(model.standby_pj, case.standby_pj)} |\n"
        )
    said = "".join(summary(f"Commands of {name}", found) for name, found in pairs.items())
    return ENERGY + "".join(lines) + f"\n{said}"


def judged_section(cases: Sequence[Judged]) -> str:
    """The third table."""
    said = summary("All", [(case.model.ns, case.commands.ns) for case in cases])
    return JUDGED + judged_lines(cases) + f"\n{said}"


def turns_section(cases: Sequence[Judged]) -> str:
    """The fourth table."""
    said = summary("By turns", [(case.model.ns, case.commands.ns) for case in cases])
    return BY_TURNS + judged_lines(cases) + f"\n{said}"


def several_section(cases: Sequence[Judged]) -> str:
    """The fifth table."""
    said = summary("Several channels", [(case.model.ns, case.commands.ns) for case in cases])
    return SEVERAL + judged_lines(cases) + f"\n{said}"


def judged_lines(cases: Sequence[Judged]) -> str:
    """Rows of a table of cases."""
    lines = [
        f"| {case.type_name} | {case.label} | {case.commands.ns:,.0f} | {case.model.ns:,.0f} | "
        f"{percent(case.model.ns, case.commands.ns)} | {case.commands.activations:,} | {case.model.rows:,} |\n"
        for case in cases
    ]
    return "".join(lines)


def main() -> None:
    """Compare, and write the page."""
    cases = list(published())
    sections = [
        reference_section(cases),
        energy_section(cases),
        judged_section(list(judged(OTHERS))),
        turns_section(list(judged(TURNS))),
        several_section(list(several())),
    ]
    write_text(REPORTS / "dram.md", "".join(sections))


if __name__ == "__main__":
    main()
