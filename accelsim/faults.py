"""Every fault that pydantic finds in a user's file, as one line that quotes the keys and values and suggests names."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from accelsim.errors import InputError

if TYPE_CHECKING:  # at work only where a file is read, so that `import accelsim` does not wait for it
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

Record = TypeVar("Record", bound="BaseModel")

SHOWN_FAULTS = 12
# which of several forms it tried, in a key's path
_PYDANTIC = re.compile(r"(?:tuple|list|union|literal|function-\w+)\[.*\]$|constrained-\w+$")
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = 60
_SHORT.maxother = 60


def shown(value: object) -> str:
    """A value as a message quotes it: ``repr``, cut where it is long or deep."""
    return _SHORT.repr(value)


def validated(path: Path, schema: type[Record], data: Mapping[str, Any]) -> Record:
    """The record that a file's content describes.

    Raises InputError that names the file and every fault.
    """
    from pydantic import ValidationError

    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, schema)}") from None


def explain(
    error: "ValidationError",
    model: "type[BaseModel] | None",
    elsewhere: Mapping[str, str] | None = None,
) -> str:
    """All faults, separated by semicolons.

    The key's path, what is wrong, what was expected, the nearest valid name.

    model: the record that was validated, for suggestions.  elsewhere: what to say of keys that are
    unknown here only.
    """
    faults = []
    every = error.errors(include_url=False)
    # A list whose entries are faulty is called too short, too.
    inner = {fault["loc"][:length] for fault in every for length in range(len(fault["loc"]))}
    found = [fault for fault in every if fault["type"] != "too_short" or fault["loc"] not in inner]
    for fault in found[:SHOWN_FAULTS]:
        path = [str(part)[:60] for part in fault["loc"] if not _PYDANTIC.match(str(part))]
        key = ".".join(path)
        if fault["type"] == "extra_forbidden" and key in (elsewhere or {}):
            faults.append(f"{key}: {(elsewhere or {})[key]}")
        elif fault["type"] == "extra_forbidden":
            faults.append(f"{key}: unknown key{nearest(path[-1], _fields(model, path[:-1]))}")
        elif fault["type"] == "missing":
            faults.append(f"{key}: missing")
        elif fault["type"] == "value_error":
            faults.append(f"{key}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"]))
        else:
            said = fault["msg"].replace("Tuple", "List").replace("tuple", "list")
            faults.append(f"{key}: {said[:1].lower()}{said[1:]}, got {shown(fault['input'])}")
    more = f"; and {len(found) - SHOWN_FAULTS} more faults" if len(found) > SHOWN_FAULTS else ""
    return "; ".join(faults) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'rows'?`` if a known name is close, else the known names if they are few, else nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:60], names, n=1)
    if close:
        return f", did you mean {close[0]!r}?"
    return f", expected one of {', '.join(names)}" if 0 < len(names) <= 30 else ""


def dotted_keys(record: "type[BaseModel]", prefix: str = "") -> "Iterator[tuple[str, FieldInfo]]":
    """Every key of a record and of its groups, as ``pe_array.rows``, that holds a value and no group."""
    for name, field in record.model_fields.items():
        inner = _group(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", field
        else:
            yield from dotted_keys(inner, f"{prefix}{name}.")


def _group(annotation: Any) -> "type[BaseModel] | None":
    """The record that a key holds, alone or beside None."""
    from pydantic import BaseModel

    options = (annotation, *get_args(annotation))
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def _fields(model: "type[BaseModel] | None", path: list[str]) -> list[str]:
    """The keys that the record at a path may have."""
    for part in path:
        if model is None or part not in model.model_fields:
            return []
        model = _group(model.model_fields[part].annotation)
    return list(model.model_fields) if model else []
