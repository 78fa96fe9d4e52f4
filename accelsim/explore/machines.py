"""Machines made from a base file and dotted keys, quickly, and what is known of one before it runs."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from accelsim.errors import InputError
from accelsim.explore.expressions import Value
from accelsim.faults import explain
from accelsim.hardware.load import load_hardware
from accelsim.hardware.machine import Machine, SpatialMachine, WinogradMachine
from accelsim.simulator.run import areas_mm2

AnyMachine = SpatialMachine | WinogradMachine

KINDS: dict[str, type[AnyMachine]] = {
    get_args(record.model_fields["kind"].annotation)[0]: record for record in get_args(get_args(Machine)[0])
}
# Names that a constraint may use besides the parameters.
MACHINE_FACTS = frozenset({"area_mm2", "bandwidth_gbs", "lanes", "sram_kb", "kind"})

_adapter: TypeAdapter[AnyMachine] = TypeAdapter(Machine)


@lru_cache(maxsize=64)
def base_machine(name: str) -> AnyMachine:
    """The machine of a file.  Raises InputError as ``load_hardware``."""
    return load_hardware(name)


@lru_cache
def machine_keys(kind: str) -> Mapping[str, bool]:
    """The dotted keys of a kind of machine that a sweep may set, and whether each holds text."""
    keys: dict[str, bool] = {}

    def walk(record: type[BaseModel], prefix: str) -> None:
        for name, field in record.model_fields.items():
            options = (field.annotation, *get_args(field.annotation))
            inner = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
            if inner is not None:
                walk(inner, f"{prefix}{name}.")
            elif f"{prefix}{name}" not in {"kind", "name", "description"}:
                literal = any(isinstance(a, str) for o in options for a in (o, *get_args(o)))
                keys[f"{prefix}{name}"] = str in options or literal

    walk(KINDS[kind], "")
    return keys


def make_machine(base: AnyMachine, name: str, settings: Mapping[str, Value]) -> AnyMachine:
    """The base with some keys set.  Raises InputError naming the key and value at fault."""
    data: dict[str, Any] = base.model_dump()
    data["name"] = name
    for key, value in settings.items():
        *parents, last = key.split(".")
        target = data
        for parent in parents:
            target = target[parent]
        target[last] = value
    return machine_from(data)


def machine_from(data: Mapping[str, Any]) -> AnyMachine:
    """The machine that ``model_dump`` described.  Raises InputError naming the keys and values at fault."""
    try:
        return _adapter.validate_python(data)
    except ValidationError as error:
        raise InputError(f"{data.get('name')}: {explain(error, KINDS[data['kind']], ignore=KINDS)}") from None


def facts(machine: AnyMachine) -> dict[str, Value]:
    """What is known before a run: kind, lanes, SRAM, bandwidth, area.  The names are ``MACHINE_FACTS``."""
    return {
        "kind": machine.kind,
        "lanes": machine.lanes,
        "sram_kb": machine.sram_bytes / 1024,
        "bandwidth_gbs": machine.dram.timing.bandwidth_gbs * machine.dram.channels,
        "area_mm2": float(sum(areas_mm2(machine).values())),
    }
