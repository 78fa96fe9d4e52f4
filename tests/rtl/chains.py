"""Chains of layers that run as one network on the machines of ``cases``: their maps on chip, additions riding along.

Each chain holds layers of the shipped ResNet-20 with a residual addition.  The first one stands in for what the network
has in front of it: its outputs are also what is added.  Every layer has a ReLU behind it.  Bias is left out, as in all
cases here; each layer's output is shifted by as few bits as its values allow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.datapath import integer
from accelsim.dual.quantizer import dyadic
from accelsim.simulator.network.planning import Planned, plan_network
from accelsim.simulator.network.plans import part_of
from accelsim.simulator.network.timing import overlapped
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time.event import event_times
from accelsim.simulator.time.plan import LayerPlan
from accelsim.simulator.time.program import Part, program_of
from accelsim.simulator.time.program import Program as NetworkProgram
from accelsim.simulator.time.recurrence import program_times
from accelsim.workload import LayerWork, Surroundings
from tests.rtl.cases import BANDWIDTH, Machine, Prediction, whole_numbers
from tests.rtl.program import WEIGHT, Link, Place, Program, build_chain


@dataclass(frozen=True)
class Stage:
    """A layer of a chain: whose outputs it reads, None for the chain's input, and whose are added to its own."""

    layer: str
    reads: str | None = None
    adds: str | None = None


CHAINS: Mapping[str, tuple[Stage, ...]] = {
    "conv1-layer1.0": (
        Stage("conv1"),
        Stage("layer1.0.conv1", "conv1"),
        Stage("layer1.0.conv2", "layer1.0.conv1", "conv1"),
    ),
    "conv1-layer1.1": (
        Stage("conv1"),
        Stage("layer1.0.conv1", "conv1"),
        Stage("layer1.0.conv2", "layer1.0.conv1", "conv1"),
        Stage("layer1.1.conv1", "layer1.0.conv2"),
        Stage("layer1.1.conv2", "layer1.1.conv1", "layer1.0.conv2"),
    ),
    "layer2.0-layer2.1": (
        Stage("layer2.0.conv1"),
        Stage("layer2.0.conv2", "layer2.0.conv1"),
        Stage("layer2.1.conv1", "layer2.0.conv2"),
        Stage("layer2.1.conv2", "layer2.1.conv1", "layer2.0.conv2"),
    ),
    "layer2.1": (
        Stage("layer2.0.conv2"),
        Stage("layer2.1.conv1", "layer2.0.conv2"),
        Stage("layer2.1.conv2", "layer2.1.conv1", "layer2.0.conv2"),
    ),
    "layer3.1": (
        Stage("layer3.0.conv2"),
        Stage("layer3.1.conv1", "layer3.0.conv2"),
        Stage("layer3.1.conv2", "layer3.1.conv1", "layer3.0.conv2"),
    ),
}
STRIDED = "layer2.0-layer2.1"  # which the Winograd machine leaves to ``layer2.1``
CHAINED = tuple(dict.fromkeys(stage.layer for stages in CHAINS.values() for stage in stages))


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers in a row, with the input x (H, W, C) of the first, on one machine.

    given: their places; the simulator's choice by default.
    """

    network: str
    label: str
    works: Mapping[str, LayerWork]
    x: NDArray[np.float32]
    machine: Machine
    given: tuple[Place, ...] | None = None

    @property
    def name(self) -> str:
        """Network, chain and machine."""
        return f"{self.network}/{self.label}/{self.machine.name}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its layers."""
        return CHAINS[self.label]

    @cached_property
    def planned(self) -> Planned:
        """The network as the simulator would run it."""
        return plan_network(self._network(), self.machine.description, "resident")

    def _network(self) -> list[LayerWork]:
        """The layers and their additions, as a network of their own."""
        last: dict[str | None, str] = {None: "input"}
        found = []
        for stage in self.stages:
            work = replace(self.works[stage.layer], sources=(last[stage.reads],))
            found.append(work)
            last[stage.layer] = work.name
            if stage.adds is not None:
                found.append(_addition(work, last[stage.adds]))
                last[stage.layer] = found[-1].name
        return found

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """How each layer is cut, where its maps lie, and what it waits for."""
        if self.given is not None:
            return self.given
        planned = self.planned
        assert planned.placement is not None
        assert len(planned.groups) == len(self.stages)
        number = {stage.layer: t for t, stage in enumerate(self.stages)}
        addresses = planned.placement.addresses
        found = []
        for t, (stage, piece, part) in enumerate(zip(self.stages, planned.pieces, planned.parts, strict=True)):
            assert not part.in_dram
            assert not piece.around.operands
            found.append(
                Place(
                    tiling=_tiling(piece.schedule.tiling, piece.schedule.loop_order),
                    source=None if stage.reads is None else addresses[number[stage.reads]],
                    operand=None if stage.adds is None else addresses[number[stage.adds]],
                    target=addresses.get(t),
                    reads=part.on_chip,
                    beside=part.beside,
                    weights_beside=part.weights_beside,
                )
            )
        return tuple(found)

    @property
    def record(self) -> dict[str, Any]:
        """What golden.json keeps of how it is cut."""
        return {"places": [list(asdict(place).values()) for place in self.places]}

    def predict(self, rtl: Program | None = None) -> Prediction:
        """Run both engines on these places; where the simulator chose them, it must say the same of the network.

        rtl: take as many bytes of each weight tile as this program does, instead of the simulator's own.
        """
        machine = self.machine.description
        program = program_of([self._part(t) for t in range(len(self.stages))], machine)
        if rtl is not None:
            program = _with_weight_bytes(program, rtl)
        times = program_times(program)
        event = event_times(program)
        ours = times.end, times.computed.tolist(), times.finished.tolist()
        assert ours == (event.end, event.computed.tolist(), event.finished.tolist())
        if self.given is None and rtl is None:
            network = overlapped(self.planned, machine, "resident")
            assert network is not None
            planned = program_times(network)
            assert ours == (planned.end, planned.computed.tolist(), planned.finished.tolist())
        return Prediction(
            compute=int(program.compute.sum()),
            transform=int(program.transform.sum()),
            inverse=int(program.output.sum()),
            dma=int(program.dma_cycles.sum()),
            cycles=times.end,
            computed=tuple(times.computed.tolist()),
            finished=tuple(times.finished.tolist()),
        )

    def _part(self, t: int) -> Part:
        """A layer as a part of the simulator's program."""
        stage, place, machine = self.stages[t], self.places[t], self.machine.description
        work = self.works[stage.layer]
        around = Surroundings(
            input_share=0.0 if place.source is not None else 1.0,
            stores=place.target is None,
            post_slots=work.outputs if place.operand is not None else 0,
        )
        work = work.amid(around)
        schedule = tiled_schedule(machine.modes(work)[0], place.tiling, machine)
        plan = LayerPlan(
            work=work, machine=machine, score=0.0, needs={}, weights_whole=False, weight_bytes=0, make=lambda: schedule
        )
        operands, post_cycles = part_of(plan, around, machine)
        return Part(
            schedule=plan.schedule,
            finishes=plan.whole.outputs.n_bytes > 0,
            operands=operands,
            post_cycles=post_cycles,
            on_chip=place.reads,
            beside=place.beside,
            weights_beside=place.weights_beside,
        )

    @cached_property
    def links(self) -> list[Link]:
        """The layers in whole numbers, each on what those before it put out."""
        maps: dict[str | None, tuple[NDArray[np.int8], int]] = {None: (dyadic(self.x, 8)[0].astype(np.int8), 0)}
        found = []
        for stage, place in zip(self.stages, self.places, strict=True):
            x, unit = maps[stage.reads]
            layer, exponent = whole_numbers(self.works[stage.layer], self.machine, x)
            unit += exponent
            y, shift = layer.y, 0
            if stage.adds is not None:
                operand, its_unit = maps[stage.adds]
                shift = its_unit - unit
                y = y + (operand.astype(np.int64) << shift)
            out_shift = integer.output_shift(np.maximum(y, 0))
            layer = replace(layer, y=y, out_shift=out_shift, relu=True, operand_shift=shift)
            maps[stage.layer] = layer.stored(y), unit + out_shift
            found.append(Link(layer, place))
        return found

    def program(self) -> Program:
        """What the host writes."""
        return build_chain(self.links, self.machine.array)

    @property
    def kept(self) -> float:
        """Share of the weights that are not zero."""
        weights = [link.layer.w for link in self.links]
        return sum(int((w != 0).sum()) for w in weights) / sum(w.size for w in weights)


def _with_weight_bytes(program: NetworkProgram, rtl: Program) -> NetworkProgram:
    """The simulator's program, its weight tiles of as many bytes as those that the RTL loads."""
    n_bytes = rtl.requests[rtl.requests[:, 0] == WEIGHT, 2].astype(np.int64)
    loads = program.loads.copy()
    loads[WEIGHT, program.loaded[WEIGHT]] = -(-n_bytes // BANDWIDTH)
    return replace(program, loads=loads)


def _addition(work: LayerWork, operand: str) -> LayerWork:
    """The addition of a layer's outputs and another map of their shape."""
    return LayerWork(
        f"{work.name}.add", "add", 1, work.out_channels, work.out_height, work.out_width,
        work.out_channels, work.out_height, work.out_width, sources=(work.name, operand), inputs=2,
    )  # fmt: skip


def _tiling(sizes: str, order: str) -> Tiling:
    """A tiling from a schedule's words (``Tiling.sizes``, ``Tiling.order``)."""
    n, p, q, k, c = (int(size.partition("=")[2]) for size in sizes.split())
    return Tiling(n, p, q, k, c, order.startswith("k"), "weights" in order, "inputs" in order)


def place_of(fields: list[Any]) -> Place:
    """A place from what golden.json keeps of it."""
    tiling, source, operand, target, reads, *beside = fields
    return Place(Tiling(**tiling), source, operand, target, tuple(reads), *beside)


def chain_machines() -> Iterator[Machine]:
    """The builds that run chains."""
    yield Machine("os", 4, 4, True, chain=True)
    yield Machine("os", 4, 4, False, chain=True)
    yield Machine("ws", 4, 4, False, chain=True)
    yield Machine("winograd", 4, 4, True, 2, chain=True)


def chains(layers: Mapping[str, tuple[LayerWork, NDArray[np.float32]]], known: Mapping[str, Any]) -> list[Chain]:
    """Every chain on every machine that can run it.

    layers: with all of CHAINED.  known: ``recorded()["cases"]``; where a chain is none of these it is planned anew.
    """
    works = {name: work for name, (work, _) in layers.items()}
    found = []
    for machine in chain_machines():
        for label, stages in CHAINS.items():
            if label == ("layer2.1" if machine.kind != "winograd" else STRIDED):
                continue
            chain = Chain("resnet20", label, works, layers[stages[0].layer][1], machine)
            if chain.name in known:
                chain = replace(chain, given=tuple(map(place_of, known[chain.name]["places"])))
            found.append(chain)
    return found
