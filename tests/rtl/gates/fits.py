"""The table of what was fitted to the others (``accelsim.hardware.least_squares``): python -m tests.rtl.gates.fits."""

import csv
import io
from pathlib import Path

from accelsim.files import write_text
from accelsim.hardware import gates, least_squares

PATH = Path(gates.__file__).parent / "tables" / least_squares.NAME


def fitted() -> dict[str, list[float]]:
    """All fits of the model, made anew: factors by the digest of the problem."""
    least_squares.solved().clear()
    for remembered in (gates.read, gates.lane_fit, gates.lane_pj_fit, gates.array_costs):
        remembered.cache_clear()
    for signed in (False, True):
        gates.lane_energy(8, 8, 24, signed)
    gates.lane_um2(8, 8, 24)
    gates.array_costs("streams")
    gates.array_costs("stationary")
    return {key: factors.tolist() for key, factors in least_squares.solved().items()}


def main() -> None:
    """Write the table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["problem", "factors"])
    writer.writerows([key, *map(repr, factors)] for key, factors in sorted(fitted().items()))
    write_text(PATH, out.getvalue())


if __name__ == "__main__":
    main()
