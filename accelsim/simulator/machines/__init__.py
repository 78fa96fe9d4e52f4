"""The machine families, a file each.

What a machine's YAML may say, and how a layer becomes a schedule on it.

A new family is one file with a class (``machine.Machine``) and one line in ``FAMILIES``; a family
of a user's own is given to ``load_hardware`` by hand (``docs/own-machine.md``).
"""

from accelsim.simulator.machines.cartesian.machine import CartesianMachine
from accelsim.simulator.machines.cells import CellsMachine
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.matrix_vector import MatrixVectorMachine
from accelsim.simulator.machines.row_stationary.machine import RowStationaryMachine
from accelsim.simulator.machines.stationary import StationaryMachine
from accelsim.simulator.machines.winograd import WinogradMachine

Families = tuple[type[Machine], ...]

FAMILIES: Families = (
    StationaryMachine,
    WinogradMachine,
    CellsMachine,
    RowStationaryMachine,
    CartesianMachine,
    MatrixVectorMachine,
)
