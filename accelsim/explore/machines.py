"""Machines made from a base file and dotted keys, quickly, and what is known of one before it runs."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, get_args

from accelsim.errors import InputError
from accelsim.explore.expressions import Value
from accelsim.faults import dotted_keys
from accelsim.hardware.energy import area_mm2
from accelsim.settings import set_dotted
from accelsim.simulator.machines import choice
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.machines.machine import Machine

# Names that a constraint may use besides the parameters.
MACHINE_FACTS = frozenset({"area_mm2", "bandwidth_gbs", "lanes", "sram_kb", "kind"})
NOT_SWEPT = {"kind", "name", "description"}


@lru_cache(maxsize=64)
def base_machine(name: str) -> Machine:
    """The machine of a file.  Raises InputError as ``load_hardware``."""
    return load_hardware(name)


@lru_cache
def machine_keys(family: type[Machine]) -> Mapping[str, bool]:
    """The dotted keys of a family of machines that a sweep may set, and whether each holds text."""
    return {key: _holds_text(field.annotation) for key, field in dotted_keys(family) if key not in NOT_SWEPT}


def _holds_text(annotation: Any) -> bool:
    """Whether a key's values are texts, of any kind or of a few."""
    options = (annotation, *get_args(annotation))
    return str in options or any(isinstance(value, str) for option in options for value in (option, *get_args(option)))


def make_machine(base: Machine, name: str, settings: Mapping[str, Value]) -> Machine:
    """The base with some keys set.  Raises InputError naming the key and value at fault."""
    data: dict[str, Any] = base.model_dump()
    data["name"] = name
    for key, value in settings.items():
        set_dotted(data, key, value)
    return machine_from(data)


def machine_from(data: Mapping[str, Any]) -> Machine:
    """The machine that ``model_dump`` described.

    Raises InputError naming the keys and values at fault.
    """
    try:
        return choice.machine_from(data)
    except InputError as fault:
        raise InputError(f"{data.get('name')}: {fault}") from None


def facts(machine: Machine) -> dict[str, Value]:
    """What is known before a run: kind, lanes, SRAM, bandwidth, area.

    The names are ``MACHINE_FACTS``.
    """
    return {
        "kind": machine.kind,
        "lanes": machine.lanes,
        "sram_kb": machine.sram_bytes / 1024,
        "bandwidth_gbs": machine.dram.timing.bandwidth_gbs * machine.dram.channels,
        "area_mm2": area_mm2(machine),
    }
