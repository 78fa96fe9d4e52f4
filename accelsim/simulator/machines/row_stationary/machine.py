"""The row-stationary array.

Its keys in ``description``, a pass in ``passes``, the mapping in ``search``, the steps in
``steps``.
"""

from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.search import choose_mappings, worth_scoring
from accelsim.simulator.machines.row_stationary.steps import schedule_passes
from accelsim.simulator.time.objective import best
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork


class RowStationaryMachine(RowStationaryDescription, Machine):
    """An array whose elements slide filter rows over input rows, with scratch-pads of their own."""

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of a conv or linear layer by its best mapping.

        Raises InputError if none fits the machine.
        """
        mappings = choose_mappings(work, self)
        return best((schedule_passes(work, self, mapping) for mapping in mappings), self)

    def check(self, work: LayerWork) -> None:
        """Refuse a layer none of whose mappings fits in MAX_STEPS steps."""
        worth_scoring(work, self)
