"""The DRAM model beside DRAMsim3, Ramulator 2.1 and single commands: rows of the validation report."""

from experiments.comparisons.row import Row, compared
from experiments.dram.compare import judged, published, several
from experiments.dram.patterns import OTHERS, TURNS

COMMAND = "python -m experiments.dram"


def rows() -> list[Row]:
    """Times of requests, and energy of commands where the currents are the same."""
    cases = list(published())
    others = [(case.model.ns, case.commands.ns) for case in judged(OTHERS)]
    turns = [(case.model.ns, case.commands.ns) for case in judged(TURNS)]
    ddr4 = [(c.model.command_pj, c.command_pj) for c in cases if c.command_pj and c.type_name.startswith("DDR4")]
    return [
        compared(
            what="time of requests to DRAM, DDR4 and LPDDR4",
            reference="DRAMsim3 and Ramulator 2.1",
            pairs=[(case.model.ns, case.ns) for case in cases],
            command=COMMAND,
            remark="timings of datasheets, nothing fitted; worst 64 B at random; [dram.md](dram.md)",
        ),
        compared(
            what="time of requests to DRAM, six types, other patterns",
            reference="every command simulated",
            pairs=others,
            command=COMMAND,
            remark="worst 1 KB by turns on HBM2; [dram.md](dram.md)",
        ),
        compared(
            what="time of requests to DRAM, six types, small ones by turns",
            reference="every command simulated",
            pairs=turns,
            command=COMMAND,
            remark="worst 512 B by turns on GDDR6, whose rows controllers gather and the model does not",
        ),
        compared(
            what="time of requests to DRAM, several channels",
            reference="every command simulated",
            pairs=[(case.model.ns, case.commands.ns) for case in several()],
            command=COMMAND,
            remark="patterns that the busiest channel's share was not made after",
        ),
        compared(
            what="energy of DRAM commands, DDR4",
            reference="DRAMsim3",
            pairs=ddr4,
            command=COMMAND,
            remark="by the same currents: it is the count of commands that is compared",
        ),
    ]
