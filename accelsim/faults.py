"""Every fault that pydantic finds in a user's file, as one line that quotes the keys and values and suggests names."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from accelsim.errors import InputError

Record = TypeVar("Record", bound=BaseModel)

SHOWN_FAULTS = 12
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60


def shown(value: object) -> str:
    """A value as a message quotes it: ``repr``, cut where it is long or deep."""
    return _SHORT.repr(value)


def validated(path: Path, schema: type[Record], data: Mapping[str, Any]) -> Record:
    """The record that a file's content describes.  Raises InputError that names the file and every fault."""
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, schema)}") from None


def explain(error: ValidationError, model: type[BaseModel] | None, ignore: Iterable[str] = ()) -> str:
    """All faults, separated by semicolons: the key's path, what is wrong, what was expected, the nearest valid name.

    model: the record that was validated, for suggestions.  ignore: parts of pydantic's path that are no keys of the
    file (the tags of a discriminated union).
    """
    skip = set(ignore)
    faults = []
    found = error.errors(include_url=False)
    for fault in found[:SHOWN_FAULTS]:
        path = [str(part)[:60] for part in fault["loc"] if part not in skip]
        key = ".".join(path)
        if fault["type"] == "extra_forbidden":
            faults.append(f"{key}: unknown key{nearest(path[-1], _fields(model, path[:-1]))}")
        elif fault["type"] == "missing":
            faults.append(f"{key}: missing")
        elif fault["type"] == "value_error":
            faults.append(f"{key}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"]))
        else:
            faults.append(f"{key}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, got {shown(fault['input'])}")
    more = f"; and {len(found) - SHOWN_FAULTS} more faults" if len(found) > SHOWN_FAULTS else ""
    return "; ".join(faults) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'rows'?`` if a known name is close, else the known names if they are few, else nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:60], names, n=1)
    if close:
        return f", did you mean {close[0]!r}?"
    return f", expected one of {', '.join(names)}" if 0 < len(names) <= 30 else ""


def _fields(model: type[BaseModel] | None, path: list[str]) -> list[str]:
    """The keys that the record at a path may have."""
    for part in path:
        if model is None or part not in model.model_fields:
            return []
        annotation: Any = model.model_fields[part].annotation
        options = (annotation, *get_args(annotation))
        model = next((a for a in options if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return list(model.model_fields) if model else []
