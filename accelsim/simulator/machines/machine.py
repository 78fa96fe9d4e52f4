"""A machine: a description that can turn a layer into a schedule.

What every family, ours or a user's, must do.
"""

from abc import abstractmethod
from collections.abc import Sequence

from accelsim.hardware.description import MachineDescription
from accelsim.simulator.time.objective import predicted
from accelsim.simulator.time.plan import LayerPlan, Planner, amid, check_room
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork, Surroundings


class Machine(MachineDescription):
    """One accelerator, with all that its family knows of it.

    A family says its keys, ``lanes`` and ``schedule``; where they are not those of plain spatial
    lanes, also ``datapath``, ``operand_bits``, ``own_prices`` and ``own_areas``.
    """

    @abstractmethod
    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of one conv or linear layer, the best ones by the machine's objective.

        Raises InputError if the layer does not fit the machine.
        """

    def plan(self, work: LayerWork) -> LayerPlan:
        """``schedule`` in the layer's surroundings (``work.around``), and what room it needs."""
        return self.planner(work)(work.around)

    def planner(self, work: LayerWork) -> Planner:
        """``plan`` of one layer in any surroundings, as a network asks for many of a layer.

        Default: the schedule that all maps in DRAM have, without the loads and stores that fall
        away; its tiles take the buffers as a whole where there are any.  Raises InputError as
        ``schedule``, at once or when a plan is asked for.
        """
        whole = self.schedule(work)

        def plan(around: Surroundings) -> LayerPlan:
            there = work.amid(around)
            needs = {
                "weight": int(self.buffers.capacity_bytes("weight")),
                "input": int(self.buffers.capacity_bytes("input")) if around.input_share else 0,
                "output": int(self.buffers.capacity_bytes("output")) if around.stores else 0,
            }
            if around.room is not None:
                check_room(self, there, needs)
            return LayerPlan(
                work=there,
                machine=self,
                score=predicted(amid(whole, there, self), self),
                needs=needs,
                weights_whole=False,
                weight_bytes=0,
                make=lambda: whole,
            )

        return plan

    def prepare(self, works: Sequence[LayerWork]) -> None:
        """Count what the schedules of some layers will ask for, where that is quicker for all of them together.

        A run asks this of its layers before it schedules the first.  Default: nothing is.
        """

    def check(self, work: LayerWork) -> None:
        """Raise InputError if the layer needs more steps than can be scheduled.

        Before anything large is computed.

        A run asks this of its large layers before it simulates the first.  Default: nothing is
        refused.
        """
