"""Which tilings of a layer a machine's buffers hold, and whether they are few enough to be scored.

A schedule holds some two hundred bytes a step, a candidate as many while it is scored.  So a layer
is refused that needs over ``MAX_STEPS`` steps, or has over ``MAX_CANDIDATES`` tilings.  Both are
known before there are large arrays: the tilings of a large layer are looked at some at a time, and
only cuts with which any of them fits are scored.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np

from accelsim.arrays import Flags, Ints
from accelsim.errors import InputError
from accelsim.hardware.parts import ONE_MEMORY
from accelsim.simulator.tiles.candidates import (
    MAX_STEPS,
    POSITIONS,
    REMEMBERED_CANDIDATES,
    WEIGHTS_FIRST,
    Candidates,
    count_others,
    count_positions,
    remembered_candidates,
)
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.groundwork import Groundwork
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.positions import position_cuts
from accelsim.workload import ALONE

MAX_CANDIDATES = 1 << 24  # tilings of a layer


class NoTile(InputError):
    """The buffers hold no tile of a layer, however it is cut."""


class Rooms:
    """What candidates need of each buffer, in the layer's surroundings.

    weights_stay, inputs_stay: whether all of an operand stays in its buffer.  needs: bytes, by
    buffer.  fits: whether the buffers hold all, and the steps are few.
    """

    def __init__(self, base: Groundwork, mode: Mode) -> None:
        self.base = base
        self.mode = mode
        self.machine = base.machine
        self.candidates = base.candidates
        self._measure_rooms()

    def _measure_rooms(self) -> None:
        """Bytes that each buffer needs, which operands stay in theirs, and which candidates fit."""
        all_of = self.candidates
        self.weights_stay = self.base.weights_stay
        if self.mode.transforms:
            self.inputs_stay = all_of.all_inputs <= self._capacity("transformed") - self._taken_by_tiles()
            transformed = np.where(self.inputs_stay, all_of.all_inputs, all_of.transformed_tile)
            self.needs = {"input": all_of.input_tile, "transformed": transformed}
        else:
            self.inputs_stay = all_of.all_inputs <= self._capacity("input") - self._taken_by_outputs()
            if self.machine.buffers.shared:
                self._divide_one_buffer()
            self.needs = {"input": np.where(self.inputs_stay, all_of.all_inputs, all_of.input_tile)}
        self.needs["weight"] = self.base.weight_need
        if self.machine.buffers.shared:
            self.needs["weight"] = np.where(self.weights_stay, self.base.all_weights, 2 * self.base.weight_tile)
        self.needs["output"] = self._output_need()
        self._look_around()
        self.fits = all_of.few & self.held

    def _divide_one_buffer(self) -> None:
        """Which operands stay where weights and inputs have one buffer."""
        all_inputs = self.candidates.all_inputs
        both = self.base.all_weights + all_inputs
        room = self._capacity("input")
        weights_and_tile = self.base.all_weights + self.candidates.input_tile
        inputs_and_tile = all_inputs + 2 * self.base.weight_tile
        self.weights_stay = (both <= room) | ~WEIGHTS_FIRST & (weights_and_tile <= room)
        self.inputs_stay = (both <= room) | WEIGHTS_FIRST & (inputs_and_tile <= room)

    @cached_property
    def held(self) -> Flags:
        """Whether the buffers hold all."""
        needs = self.needs
        held = needs["weight"] <= self._capacity("weight")
        for name in needs.keys() - {"weight"}:
            held = held & (needs[name] <= self._capacity(name))
        if self.machine.buffers.shared:
            held = held & (needs["weight"] + needs["input"] <= self._capacity("input"))
        if self.together:
            held = held & (self.needed_together <= self._capacity("input"))
        if self.mode.work.around.weights != "loaded":
            held = held & self.weights_stay
        return np.asarray(held)

    @property
    def together(self) -> bool:
        """Whether tiles of inputs, of outputs and sums lie in one room."""
        return self.mode.work.around.shared or self.machine.buffers.one_memory

    @property
    def needed_together(self) -> Ints:
        """Bytes that a candidate needs of that room."""
        needs = [self.needs[name] for name in self.base.map_buffers if name in self.needs]
        return np.asarray(sum(needs[1:], start=needs[0]))

    @property
    def move_with_surroundings(self) -> bool:
        """Whether surroundings decide how often tiles of weights and transformed inputs come."""
        buffers = self.machine.buffers
        return buffers.shared or (buffers.one_memory and self.mode.transforms)

    def _output_need(self) -> Ints:
        """Bytes that outputs and sums need, and the lines of what rides on them."""
        around = self.mode.work.around
        room = self.candidates.output_room if around.stores else self.candidates.sums_room
        return room + around.line_bytes if around.line_bytes else room

    def _taken_by_outputs(self) -> Ints | int:
        """Bytes of the room for inputs that outputs, and operands of what rides on them, take where both have one."""
        if not self.together:
            return 0
        operands = self.mode.work.around.operands
        need = self._output_need()
        return need + operands * self.candidates.finished_room if operands else need

    def _taken_by_tiles(self) -> Ints | int:
        """Bytes of the room for transformed inputs that all other tiles take, where one memory holds everything."""
        if not self.machine.buffers.one_memory:
            return 0
        pixels = self.candidates.input_tile if self.mode.work.around.input_share else 0
        return self._taken_by_outputs() + pixels

    def _look_around(self) -> None:
        """What inputs need where they have a place of their own, and with the operands of what rides on the outputs."""
        around = self.mode.work.around
        if around.input_share == 0:
            self.needs["input"] = np.zeros((1,) * 4, np.int64)
        if around.operands:
            operands = around.operands * self.candidates.finished_room
            self.needs["input"] = self.needs["input"] + operands

    def _capacity(self, name: str) -> int:
        """Bytes of a buffer, or of the room that surroundings leave in it."""
        room = self.mode.work.around.room
        if room is not None and name in self.base.map_buffers:
            return room[name == "output"]
        return self.base.capacities[name]

    def needs_at(self, at: tuple[int, int, int, int]) -> dict[str, int]:
        """The bytes that one candidate needs of each buffer."""
        return {
            name: int(needed[tuple(i if size > 1 else 0 for i, size in zip(at, needed.shape, strict=True))])
            for name, needed in self.needs.items()
        }

    def least_steps(self) -> int | None:
        """Of the candidates that the buffers hold; None if they hold none."""
        held = np.broadcast_to(self.held, self.fits.shape)
        steps = np.broadcast_to(self.candidates.steps, self.fits.shape)[held]
        return int(steps.min()) if steps.size else None

    def least_needs(self) -> dict[str, int]:
        """The least bytes that any candidate needs of each buffer, or memory."""
        needs = self.needs
        if self.machine.buffers.one_memory:
            needs = {"weight": needs["weight"], ONE_MEMORY: self.needed_together}
        return {name: int(needed.min()) for name, needed in needs.items()}

    def shortage(self, needs: dict[str, int], steps: int | None) -> InputError:
        """What is too small for the layer, or what it needs too much of.

        needs, steps: the least of all candidates.
        """
        machine = self.machine.name
        layer = self.mode.work.name
        if steps is not None:
            return InputError(f"{machine}: layer {layer} needs at least {steps} steps, expected at most {MAX_STEPS}")
        for name, needed in needs.items():
            capacity = self._capacity(name)
            if needed > capacity:
                keys = self.machine.buffers.map_buffers if name == ONE_MEMORY else (name,)
                key = " + ".join(f"{key}_kb" for key in keys)
                return NoTile(
                    f"{machine}: buffers.{key} is {capacity / 1024:g}, too small for one tile of layer {layer}, "
                    f"expected at least {-(-needed // 1024)}"
                )
        return NoTile(f"{machine}: no tile of layer {layer} fits all buffers at once, expected larger buffers")


def worth_scoring(mode: Mode, machine: TiledDescription) -> Rooms:
    """The candidates of a layer.

    All of them, or of a large layer those cuts of the positions with which any fits.

    Raises NoTile if no candidate fits the buffers, InputError if none of those has few steps, or
    there are too many.
    """
    shape = mode.shape
    row_bytes = machine.dram.timing.row_bytes
    positions = count_positions(shape)
    others = count_others(shape)
    if positions * others <= REMEMBERED_CANDIDATES:
        rooms = Rooms(_groundwork(mode, machine), mode)
        if not rooms.fits.any():
            raise rooms.shortage(rooms.least_needs(), rooms.least_steps())
        return rooms
    if positions * others > MAX_CANDIDATES:
        raise InputError(
            f"{machine.name}: layer {mode.work.name} has {positions * others} tilings to choose from, expected at most "
            f"{MAX_CANDIDATES}"
        )
    cuts = position_cuts(shape.batch, shape.m, shape.vertical, shape.horizontal)
    at_once = max(1, REMEMBERED_CANDIDATES // others)
    kept: list[Ints] = []
    needs: dict[str, int] = {}
    steps: int | None = None
    for first in range(0, positions, at_once):
        some = cuts.some(slice(first, first + at_once))
        rooms = Rooms(Groundwork(mode, machine, Candidates(shape, row_bytes, some)), mode)
        of_positions = np.broadcast_to(
            rooms.fits, (*rooms.fits.shape[:POSITIONS], len(rooms.candidates.positions.count))
        )
        kept.append(first + np.flatnonzero(of_positions.any(axis=(0, 1, 2))))
        asked = rooms.least_needs().items()
        needs = {name: min(needed, needs.get(name, needed)) for name, needed in asked}
        known = [least for least in (steps, rooms.least_steps()) if least is not None]
        steps = min(known, default=None)
    found = np.concatenate(kept)
    if not len(found):
        raise rooms.shortage(needs, steps)
    return Rooms(Groundwork(mode, machine, Candidates(shape, row_bytes, cuts.some(found))), mode)


def _groundwork(mode: Mode, machine: TiledDescription) -> Groundwork:
    """What is the same in all surroundings of the mode."""

    def make() -> Groundwork:
        alone = replace(mode, work=mode.work.amid(ALONE))  # the mode's own would hold itself
        return Groundwork(alone, machine, remembered_candidates(mode.shape, machine.dram.timing.row_bytes))

    found: Groundwork = mode.groundwork.get(id(machine), make)
    return found
