"""Execution of a compressed model in each machine's own arithmetic, and the check that both compute one network."""

from accelsim.datapath.spatial import run_spatial
from accelsim.datapath.validate import MachineValidation, Validation, validate
from accelsim.datapath.winograd import run_winograd
from accelsim.hardware.datapath import Datapath

__all__ = ["Datapath", "MachineValidation", "Validation", "run_spatial", "run_winograd", "validate"]
