"""Energy and area of the RTL's arrays: what `make rtl-energy` last measured in gates, and what the model says."""

from dataclasses import dataclass

from accelsim.hardware import gates
from experiments.comparisons.row import Row, compared

NANGATE = "gates of the RTL, Nangate 45 nm"
RUN = "make rtl-energy"
BITS = 8
ACC_BITS = 24


@dataclass(frozen=True)
class Verdict:
    """One row of the arrays' table: measured, and as the model predicts it, at 0.9 V."""

    row: dict[str, str]
    pj: float  # a cycle, clock included
    model_pj: float
    um2: float
    model_um2: float

    @property
    def name(self) -> str:
        """Array and layer."""
        r = self.row
        m = f"-f{r['m']}" if r["m"] != "1" else ""
        dense = "" if r["skip"] == "1" else " dense"
        return f"{r['kind']}{m} {r['taps']}x{r['rows']}x{r['cols']}{dense}, {r['layer']}"

    @property
    def error(self) -> float:
        """Of the energy, relative."""
        return self.model_pj / self.pj - 1

    @property
    def area_error(self) -> float:
        """Of the area, relative."""
        return self.model_um2 / self.um2 - 1


def verdicts() -> list[Verdict]:
    """Every row of the arrays' table."""
    return [_verdict(row) for row in gates.read("arrays")]


def _verdict(row: dict[str, str]) -> Verdict:
    """The model on the counts of one tile: those that the simulator counts of a layer."""
    kind: gates.ArrayKind = "stationary" if row["kind"] == "ws" else "streams"
    costs = gates.array_costs(kind)
    x_bits = {"1": 8, "2": 10, "4": 15}[row["m"]]
    lanes = int(row["rows"]) * int(row["cols"]) * int(row["taps"])
    streams = int(row["cols"]) * int(row["taps"])
    cycles = float(row["cycles"])
    pj = costs.lane_factor * gates.lanes_pj(row) * gates.AT_09_VOLTS
    pj += float(row["stream_steps"]) * costs.step_pj + float(row["stream_starts"]) * costs.start_pj
    bits = lanes * (gates.lane_flip_flops(x_bits, ACC_BITS) + costs.lane_bits)
    bits += streams * costs.stream_bits + costs.control_bits
    pj += cycles * (bits * gates.clock_bit_pj() + costs.cycle_pj)
    um2 = lanes * (gates.lane_um2(BITS, x_bits, ACC_BITS) + costs.lane_um2)
    um2 += streams * costs.stream_um2 + costs.control_um2
    return Verdict(row, gates.AT_09_VOLTS * float(row["pj"]), pj / cycles, float(row["um2"]), um2)


def ratio_layers() -> list[str]:
    """Layers that were measured on both 4 x 4 arrays."""
    kinds: dict[str, set[str]] = {}
    for row in filter(_is_plain, gates.read("arrays")):
        kinds.setdefault(row["layer"], set()).add(row["kind"])
    return [layer for layer, found in kinds.items() if len(found) == 2]


def domain_ratio(layer: str) -> tuple[float, float]:
    """Energy of a cycle of the 4 x 4 Winograd array over that of the spatial one: as gates say, as the model does."""
    found = {v.row["kind"]: v for v in verdicts() if _is_plain(v.row) and v.row["layer"] == layer}
    winograd, spatial = found["winograd"], found["os"]
    return winograd.pj / spatial.pj, winograd.model_pj / spatial.model_pj


def _is_plain(row: dict[str, str]) -> bool:
    array = (row["rows"], row["cols"], row["taps"], row["skip"])
    return array == ("4", "4", "1", "1") and row["m"] in {"1", "2"} and row["kind"] != "ws"


def rows() -> list[Row]:
    """Energy and area where the model was not fitted, and the ratio of the two domains."""
    unseen = [v for v in verdicts() if v.row["use"] == "judge"]
    arrays = unseen_arrays()
    layers = [layer for layer in ratio_layers() if _is_unseen(layer)]
    worst_energy = max(unseen, key=lambda v: abs(v.error)).name
    worst_area = max(arrays, key=lambda v: abs(v.area_error)).name
    return [
        compared(
            "energy of a cycle of whole arrays",
            NANGATE,
            [(v.model_pj, v.pj) for v in unseen],
            RUN,
            f"energy_table gates; arrays or layers that were not fitted; worst: {worst_energy}",
        ),
        compared(
            "energy of a cycle, Winograd over spatial array",
            NANGATE,
            [(model, measured) for measured, model in map(domain_ratio, layers)],
            RUN,
            "energy_table gates; 4 x 4 lanes, F(2, 3); layers that were not fitted",
        ),
        compared(
            "area of whole arrays with their streams and control",
            NANGATE,
            [(v.model_um2, v.um2) for v in arrays],
            RUN,
            f"energy_table gates; arrays that were not fitted; worst: {worst_area}",
        ),
    ]


def unseen_arrays() -> list[Verdict]:
    """One verdict of each array that the model was not fitted on."""
    fitted = {_array(v.row) for v in verdicts() if v.row["use"] == "fit"}
    return [v for key, v in {_array(v.row): v for v in verdicts()}.items() if key not in fitted]


def _array(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[key] for key in ("kind", "rows", "cols", "taps", "m", "skip"))


def _is_unseen(layer: str) -> bool:
    return all(row["layer"] != layer for row in gates.read("arrays") if row["use"] == "fit")
