"""A machine: a description that can turn a layer into a schedule.  What every family, ours or a user's, must do."""

from abc import abstractmethod

from accelsim.hardware.description import MachineDescription
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork


class Machine(MachineDescription):
    """One accelerator, with all that its family knows of it.

    A family says its keys, ``lanes`` and ``schedule``; where they are not those of plain spatial lanes, also
    ``datapath``, ``operand_bits``, ``own_prices`` and ``own_areas``.
    """

    @abstractmethod
    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of one conv or linear layer, the best ones by the machine's objective.

        Raises InputError if the layer does not fit the machine.
        """

    def check(self, work: LayerWork) -> None:
        """Raise InputError if the layer needs more steps than can be scheduled; before anything large is computed.

        A run asks this of its large layers before it simulates the first.  Default: nothing is refused.
        """
