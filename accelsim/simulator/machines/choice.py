"""Which family a description belongs to: by its kind, its dataflow, and whether it has cells.

A family says so itself, by the values that its fields ``kind`` and ``dataflow`` take.  Nothing in a
description names code: it can only choose among the classes that the caller gave.
"""

import copy
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from accelsim.errors import InputError
from accelsim.faults import dotted_keys, explain, nearest, shown
from accelsim.simulator.machines import FAMILIES, Families
from accelsim.simulator.machines.machine import Machine

STAND_IN = 8  # for a number that is wrong or missing, to see what else is


def machine_from(data: Mapping[str, Any], families: Families = FAMILIES) -> Machine:
    """The machine that a mapping of keys describes, as of a YAML file or of ``model_dump``.

    Raises InputError that names all faults at once, but no file.
    """
    family = family_of(data, families)
    try:
        return family.model_validate(data)
    except ValidationError as error:
        wrong = explain(error, family, elsewhere=_elsewhere(family, families))
        raise InputError("; ".join([wrong, *_contradictions(data, family, error)])) from None


def family_of(data: Mapping[str, Any], families: Families = FAMILIES) -> type[Machine]:
    """The family that a description belongs to.

    Raises InputError if its kind or dataflow is none.
    """
    kind = data.get("kind")
    of_kind = [family for family in families if kind in _values(family, "kind")]
    if not of_kind:
        known = sorted({value for family in families for value in _values(family, "kind")})
        raise InputError(f"kind: {shown(kind)}, expected one of {', '.join(known)}")
    has_cells = data.get("cells") is not None
    celled = [family for family in of_kind if ("cells" in family.model_fields) == has_cells]
    for family in celled or of_kind:
        if "dataflow" not in family.model_fields:
            return family
        dataflow = data.get("dataflow", family.model_fields["dataflow"].default)
        if dataflow in _values(family, "dataflow"):
            return family
    known = sorted({value for family in of_kind for value in _values(family, "dataflow")})
    raise InputError(f"dataflow: {shown(data.get('dataflow'))}{nearest(str(data.get('dataflow')), known)}")


def _values(family: type[Machine], key: str) -> tuple[str, ...]:
    """The values that a key of text may have in a family."""
    field = family.model_fields.get(key)
    return () if field is None else get_args(field.annotation)


def _label(family: type[Machine]) -> str:
    """How messages call a family: by its dataflow where it has one, else by its kind."""
    key = "dataflow" if "dataflow" in family.model_fields else "kind"
    values = " or ".join(_values(family, key))
    return f"{key} {values}{' with cells' if 'cells' in family.model_fields else ''}"


def _elsewhere(family: type[Machine], families: Families) -> dict[str, str]:
    """Keys that mean nothing in this family but do in another: what to say of them."""
    known = {*family.model_fields, *(key for key, _ in dotted_keys(family))}
    said: dict[str, str] = {}
    for other in families:
        for key in (*other.model_fields, *(key for key, _ in dotted_keys(other))):
            if key not in known:
                said.setdefault(key, f"no key of {_label(family)}, but of {_label(other)}")
    return said


def _contradictions(
    data: Mapping[str, Any],
    family: type[Machine],
    error: ValidationError,
) -> list[str]:
    """What else does not go together, were it not for wrong keys and values.

    These hide it from the checks.
    """
    rest = copy.deepcopy(dict(data))
    for fault in error.errors():
        *parents, last = list(fault["loc"]) or [""]
        target: Any = rest
        for parent in parents:
            target = target.get(parent, {}) if isinstance(target, dict) else {}
        if not isinstance(target, dict):
            continue
        target.pop(last, None)
        if fault["type"].startswith(("int_", "float_", "greater_", "less_", "missing")):
            target[last] = STAND_IN
    try:
        family.model_validate(rest)
    except ValidationError as further:
        said = {fault["msg"] for fault in error.errors()}
        return [str(f["ctx"]["error"]) for f in further.errors() if f["type"] == "value_error" and f["msg"] not in said]
    return []
