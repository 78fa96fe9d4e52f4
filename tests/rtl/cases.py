"""The machines and layers on which the simulator and the register-transfer model are compared.

Layers: every distinct convolution shape of the shipped ResNet-20 and its classifier, with the masks and weights of
the ``.dual`` file and the inputs that a sample image gives them; and six layers of ResNet-18 cut to size (see
``cut_resnet18``).  Winograd with m = 4 uses the threshold that makes 80 % of the filters' entries zero, since the
file's own belongs to m = 2.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.datapath import integer
from accelsim.dual.deploy import percentile, winograd_filters
from accelsim.dual.model import DualModel
from accelsim.dual.quantizer import dyadic
from accelsim.files import atomic_write
from accelsim.network import Node, forward
from accelsim.network.layers import Conv
from accelsim.simulator.machines.stationary import StationaryMachine
from accelsim.simulator.machines.winograd import WinogradMachine
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time.event import event_cycles
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork, layer_works
from tests.rtl.program import Array, Layer, Program, build

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / "models" / "resnet20-cifar10.dual"
IMAGES = HERE.parents[1] / "models" / "cifar10-sample.npz"
GOLDEN = HERE / "golden.json"
# Cut from weights that are not free to ship, so made from the data folder (``cut_resnet18``) and never committed.
CUT_RESNET18 = HERE.parents[1] / "build" / "rtl" / "resnet18_cut.npz"
RECORDED_RESNET20 = HERE / "resnet20_layers.npz"
BANDWIDTH = 8  # bytes a cycle
CLOCK_MHZ = 500
RATE = 4  # of both transform units
CHAIN_LAYERS = 8  # that a machine of chains has settings of

# The distinct shapes; conv1 of the first block of a stage strides.
RESNET20 = (
    "conv1", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1", "layer3.1.conv1", "linear",
)  # fmt: skip
WINOGRAD_SPARSITY = 0.8  # for m = 4, and for the ResNet-18 layers

Layers = dict[str, tuple[LayerWork, NDArray[np.float32]]]  # by name, with the input (H, W, C)


@dataclass(frozen=True)
class Machine:
    """One build of the RTL and the simulator's description of the same machine.

    kind: ``os`` (output-stationary), ``ws`` (weight-stationary) or ``winograd`` with tile size m and tap lanes.
    window, banks: of operand windows, 0 without.  streamed: inputs are transformed on their way into the windows.
    in_lanes: the lanes transform results.  filters_each, outputs_each: that a lane sums up at a time.  chain: runs
    several layers, their maps on chip.
    """

    kind: str
    rows: int
    cols: int
    skip: bool
    m: int = 1
    taps: int = 1
    window: int = 0
    banks: int = 0
    streamed: bool = False
    in_lanes: bool = False
    filters_each: int = 1
    outputs_each: int = 1
    chain: bool = False

    @property
    def name(self) -> str:
        """For example ``winograd-f2-1x8x8-skip``: taps x rows x cols."""
        zeros = "skip" if self.skip else "dense"
        zeros += f"-window{self.window}x{self.banks}" if self.window else ""
        zeros += "-streamed" * self.streamed + "-lanes" * self.in_lanes
        zeros += f"-filters{self.filters_each}" if self.filters_each > 1 else ""
        zeros += f"-outputs{self.outputs_each}" if self.outputs_each > 1 else ""
        zeros += "-chain" * self.chain
        if self.kind == "winograd":
            return f"winograd-f{self.m}-{self.taps}x{self.rows}x{self.cols}-{zeros}"
        return f"{self.kind}-{self.rows}x{self.cols}-{zeros}"

    @property
    def parameters(self) -> dict[str, int]:
        """Verilog parameters."""
        common = {"ROWS": self.rows, "COLS": self.cols, "SKIP": int(self.skip), "BANDWIDTH": BANDWIDTH}
        if self.window:
            common |= {"BANKS": self.banks}
        if self.filters_each * self.outputs_each > 1:
            common |= {"FILTERS_EACH": self.filters_each, "OUTPUTS_EACH": self.outputs_each}
        if self.chain:
            common |= {"LAYERS": CHAIN_LAYERS}
        if self.kind == "winograd":
            rates = {"TRANSFORM_RATE": RATE, "INVERSE_RATE": RATE}
            choices = {"STREAMED": int(self.streamed), "IN_LANES": int(self.in_lanes)}
            if self.window:
                choices |= {"WINDOW": self.window}
            return {**common, "M": self.m, "TAP_LANES": self.taps, **rates, **choices}
        return {**common, "DATAFLOW": int(self.kind == "ws")}

    @property
    def array(self) -> Array:
        """What the program builder has to know."""
        return Array(
            rows=self.rows,
            cols=self.cols,
            tap_lanes=self.taps,
            skip=self.skip,
            filters_each=self.filters_each,
            window=self.window,
            winograd=self.m > 1,
            stream_rate=RATE if self.streamed else 0,
            layers=CHAIN_LAYERS if self.chain else 1,
        )

    @cached_property
    def description(self) -> StationaryMachine | WinogradMachine:
        """The simulator's machine."""
        common = {
            "name": self.name,
            "clock_mhz": CLOCK_MHZ,
            "node_nm": 28,
            "zero_handling": "skip_weights" if self.skip else "none",
            "weight_format": "csr" if self.skip else "dense",
            "dram": {"type": "ideal", "bandwidth_gbs": BANDWIDTH * CLOCK_MHZ / 1000},
            "operand_window": {"positions": self.window, "banks": self.banks} if self.window else None,
            "filters_per_lane": self.filters_each,
            "outputs_per_lane": self.outputs_each,
            "post": {"add": self.chain},
        }
        array = {"rows": self.rows, "cols": self.cols}
        keeps = "shared" if self.chain else "separate"
        buffers = {"weight_kb": 16, "input_kb": 12, "output_kb": 64, "activations": keeps}
        if self.kind == "winograd":
            return WinogradMachine.model_validate(
                {
                    **common, "kind": "winograd", "tile": self.m, "pe_array": {**array, "taps": self.taps},
                    "transform_rate": RATE, "inverse_rate": RATE,
                    "buffers": {**buffers, "transformed_kb": 0 if self.streamed else 64},
                    "input_transform": "streamed" if self.streamed else "stored",
                    "inverse": "lane" if self.in_lanes else "unit",
                    **({"tiles": (self.m,)} if self.streamed or self.in_lanes else {}),
                }
            )  # fmt: skip
        dataflow = "output_stationary" if self.kind == "os" else "weight_stationary"
        return StationaryMachine.model_validate(
            {**common, "kind": "spatial", "dataflow": dataflow, "pe_array": array, "buffers": buffers}
        )


@dataclass(frozen=True)
class Prediction:
    """What the simulator says of one case, in cycles; cycles: with the DMA.

    Of each layer of a chain: computed, when the lanes are done with it; finished, when its last output is.
    """

    compute: int
    transform: int
    inverse: int
    dma: int
    cycles: int
    computed: tuple[int, ...] = ()
    finished: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """One layer, with its input x (H, W, C), on one machine.

    given: the tiling; the simulator's choice by default.  The RTL's buffers hold two tiles, so no operand stays longer.
    """

    network: str
    work: LayerWork
    x: NDArray[np.float32]
    machine: Machine
    given: Tiling | None = None

    @property
    def name(self) -> str:
        """Network, layer and machine."""
        return f"{self.network}/{self.work.name}/{self.machine.name}"

    @cached_property
    def tiling(self) -> Tiling:
        """Tile sizes and order."""
        if self.given is not None:
            return self.given
        best, _ = choose_tiling(self.machine.description.modes(self.work)[0], self.machine.description)
        return replace(best, weights_stay=False, inputs_stay=False)

    @property
    def record(self) -> dict[str, Any]:
        """What golden.json keeps of how it is cut."""
        return {"tiling": astuple(self.tiling)[:6]}

    def program(self) -> Program:
        """What the host writes."""
        return build(self.integers, self.machine.array, self.tiling)

    @property
    def kept(self) -> float:
        """Share of the weights that are not zero."""
        return float((self.integers.w != 0).mean())

    def predict(self) -> Prediction:
        """Run both engines, which must agree."""
        machine = self.machine.description
        schedule = tiled_schedule(machine.modes(self.work)[0], self.tiling, machine)
        d = durations(schedule, machine)
        cycles = pipeline_cycles(d)
        assert cycles == event_cycles(d)
        return Prediction(int(d.compute.sum()), int(d.transform.sum()), int(d.inverse.sum()), d.dma_cycles, cycles)

    @cached_property
    def integers(self) -> Layer:
        """The layer in whole numbers."""
        return whole_numbers(self.work, self.machine, dyadic(self.x, 8)[0].astype(np.int8))[0]


def whole_numbers(work: LayerWork, machine: Machine, x: NDArray[np.int8]) -> tuple[Layer, int]:
    """A layer in whole numbers, and the exponent of its weights: a unit of y is 2^exponent units of x.

    x: (H, W, C).
    """
    assert work.weights is not None
    K, C, R, S = work.weights.shape
    if machine.kind == "winograd":
        m, n = machine.m, machine.m + 2
        W = winograd_filters(work.weights, m, work.winograd_threshold or 0.0)
        filters = integer.quantize_filters(W, m)
        y = integer.convolve_winograd(x[None], filters, (R, S), work.padding)[0]
        w = filters.values.transpose(2, 3, 0, 1).reshape(n * n, K, C, 1, 1)
        shifts = filters.shifts.ravel()
        exponent = int(filters.exponents.min())
    else:
        layer = Conv(in_channels=C, out_channels=K, kernel=(R, S), stride=work.stride, padding=work.padding)
        values, exponent = integer.quantize_weights(work.weights)
        y = integer.convolve(x[None], values, layer)[0]
        w, m, shifts = values[None], 1, np.zeros(1, np.int64)
    found = Layer(x, w, y, (R, S), work.stride[0], work.padding[0], m, shifts, integer.output_shift(y))
    return found, exponent


def machines() -> Iterator[Machine]:
    """All builds."""
    for size in (4, 8, 16):
        yield Machine("os", size, size, True)
        yield Machine("os", size, size, False)
        yield Machine("ws", size, size, False)
        yield Machine("winograd", size, size, True, 2)
    yield Machine("winograd", 8, 8, False, 2)
    yield Machine("winograd", 4, 4, True, 4)
    yield Machine("winograd", 16, 16, True, 4)
    yield Machine("winograd", 4, 4, True, 2, 16)
    yield Machine("winograd", 2, 4, True, 4, 36)
    yield Machine("os", 4, 4, True, window=16, banks=4)
    yield Machine("os", 4, 4, True, window=144, banks=8)
    yield Machine("winograd", 4, 4, True, 2, window=16, banks=4)
    yield Machine("winograd", 4, 4, True, 2, in_lanes=True)
    yield Machine("winograd", 2, 2, True, 2, 16, in_lanes=True)
    yield Machine("winograd", 4, 4, True, 2, window=16, banks=4, streamed=True)
    yield Machine("winograd", 2, 2, True, 2, 16, window=16, banks=2, streamed=True, in_lanes=True)
    yield Machine("winograd", 2, 2, True, 4, window=16, banks=4, streamed=True, in_lanes=True)
    yield Machine("os", 4, 4, True, filters_each=2, outputs_each=3)
    yield Machine("os", 4, 4, False, filters_each=3, outputs_each=2)
    yield Machine("winograd", 4, 4, True, 2, filters_each=2, outputs_each=2)
    # The lanes of the reference pair, on fewer of them.
    yield Machine("os", 4, 4, True, window=144, banks=16, filters_each=4)
    yield Machine("winograd", 4, 4, True, 2, window=32, banks=8, in_lanes=True, filters_each=2)
    yield Machine("winograd", 2, 4, True, 4, window=32, banks=8, in_lanes=True, filters_each=2)
    yield Machine("winograd", 2, 2, True, 2, 16, window=16, banks=4, in_lanes=True, filters_each=3)
    # Taps side by side that choose from windows.
    yield Machine("winograd", 1, 2, True, 4, 36, window=16, banks=4)


def resnet18_machines() -> Iterator[Machine]:
    """The builds that also run the layers of ResNet-18."""
    yield Machine("os", 8, 8, True)
    yield Machine("os", 16, 16, False)
    yield Machine("ws", 8, 8, False)
    yield Machine("winograd", 8, 8, True, 2)
    yield Machine("winograd", 16, 16, True, 4)


def recorded() -> dict[str, Any]:
    """golden.json: ``model_sha256``, and ``cases`` by name.

    ``tiling``: the fields of Tiling up to weights_first; of a chain ``places``, of each layer.  ``cycles``: of the
    lanes, the input transform, the inverse transform (or vector lanes), and the whole with the DMA.  ``computed``,
    ``finished``: when the lanes were done with each layer, and when its last output was.
    """
    return dict(json.loads(GOLDEN.read_text()))


def cases(resnet20: Layers, tilings: dict[str, Any] | None = None) -> list[Case]:
    """Every layer on every machine that can run it; those of ResNet-18 where they have been cut.

    resnet20: from ``model_layers`` or ``read_layers``.  tilings: ``recorded()["cases"]``; by default chosen anew.
    """
    found = _cases(resnet20)
    if tilings is None:
        return found
    return [
        replace(case, given=Tiling(*tilings[case.name]["tiling"])) if case.name in tilings else case for case in found
    ]


def _cases(resnet20: Layers) -> list[Case]:
    found = []
    for network, layers, builds in (
        ("resnet20", resnet20, machines()),
        ("resnet18", read_layers(CUT_RESNET18) if CUT_RESNET18.exists() else {}, resnet18_machines()),
    ):
        for machine in builds:
            for name in RESNET20 if network == "resnet20" else layers:
                work, x = layers[name]
                if machine.kind != "winograd":
                    found.append(Case(network, work, x, machine))
                elif work.kernel == (3, 3) and work.stride == (1, 1):
                    found.append(Case(network, _with_threshold(network, work, machine.m), x, machine))
    return found


def _with_threshold(network: str, work: LayerWork, m: int) -> LayerWork:
    """The file's threshold for m = 2 of ResNet-20, else the one that gives the wanted sparsity."""
    if network == "resnet20" and m == 2:
        return work
    assert work.weights is not None
    filters = np.abs(winograd_filters(work.weights, m, 0.0))
    return replace(work, winograd_threshold=percentile({work.name: filters}, WINOGRAD_SPARSITY))


def model_layers(model: DualModel, names: Iterable[str]) -> Layers:
    """Layers of the model and their inputs for the first sample image."""
    wanted = set(names)
    inputs: dict[str, NDArray[np.float32]] = {}
    with np.load(IMAGES) as file:
        pixels = model.network.graph.preprocessing.apply(file["images"][:1])

    def note(node: Node, read: tuple[NDArray[np.float32], ...], output: NDArray[np.float32]) -> None:
        if node.name in wanted:
            inputs[node.name] = read[0][0].reshape((1, 1, -1) if read[0].ndim == 2 else read[0].shape[1:]).copy()

    forward(model.network, pixels, observe=note)
    works = {work.name: work for work in layer_works(model)}
    return {name: (works[name], inputs[name]) for name in sorted(wanted)}


def write_layers(path: Path, layers: Layers) -> None:
    """Keep layers for ``read_layers``; inputs as int8."""
    arrays = {}
    for name, (work, x) in layers.items():
        arrays[f"{name}:w"], arrays[f"{name}:x"] = work.weights, dyadic(x, 8)[0].astype(np.int8)
        arrays[f"{name}:geometry"] = np.array([work.stride[0], work.padding[0]])
        if work.winograd_threshold is not None:
            arrays[f"{name}:threshold"] = np.float64(work.winograd_threshold)
    with atomic_write(path) as stream:
        np.savez_compressed(stream, **arrays)


def read_layers(path: Path) -> Layers:
    """Layers from an .npz file: NAME:w (K, C, R, S), NAME:x (H, W, C), NAME:geometry (stride, padding)."""
    layers = {}
    with np.load(path) as file:
        for name in sorted({key.rpartition(":")[0] for key in file.files}):
            w, x = file[f"{name}:w"].astype(np.float32), file[f"{name}:x"].astype(np.float32)
            stride, padding = (int(v) for v in file[f"{name}:geometry"])
            K, C, R, S = w.shape
            H, W = x.shape[:2]
            P, Q = ((size + 2 * padding - kernel) // stride + 1 for size, kernel in ((H, R), (W, S)))
            threshold = float(file[f"{name}:threshold"]) if f"{name}:threshold" in file.files else None
            work = LayerWork(
                name, "conv", 1, C, H, W, K, P, Q, (R, S), (stride, stride), (padding, padding),
                weights=w, winograd_threshold=threshold,
            )  # fmt: skip
            layers[name] = work, x
    return layers
