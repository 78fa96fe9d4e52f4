"""Reading a user's YAML file of settings: a machine, a sweep, a recipe.

Bounded in size; nothing in it is executed.

YAML is read as its version 1.2 means it where 1.1 would turn one thing into another in silence:
``1:30`` is no 90, ``2024-05-01`` no date, ``010`` no 8, ``1_0`` no 10; all are text, which a
number's key refuses, as it does ``"10"``.  A key stands in a mapping once, aliases are few, and
nesting is shallow.  A record of settings takes neither a boolean nor a text for a number, and no
``2.0`` where a whole number is meant (``Section``).
"""

import re
from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.errors import InputError
from accelsim.files import Kind, read_text

MAX_ALIASES = 32
MAX_DEPTH = 32
MAX_NODES = 1 << 19  # with every alias written out: what a megabyte of text can hold
MAX_VALUE_LENGTH = 1 << 16  # of the text of one value that is given on the command line

Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]  # a share that is never all
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]  # of random numbers
Threads = Annotated[int, Field(ge=1, le=256)]

# A decimal number as a file or a flag may write it: not as Python may, with underscores or the
# digits of all scripts.
PLAIN_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")

Unmeant = tuple[type[bool] | type[str] | type[float], ...]  # what a key takes no number from

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o[0-7]+)"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9]*\.[0-9]+|[0-9]+\.)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
_TEXT = "tag:yaml.org,2002:str"


class _Refused(yaml.YAMLError):
    """YAML that is sound and yet not read; the message begins with the line."""


class _Loader(_Base):  # type: ignore[misc]  # yaml's own types say nothing of a loader in a variable
    """A safe loader that refuses what would be read otherwise than it is meant."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        if kind is yaml.ScalarNode and implicit[0]:
            if tag == "tag:yaml.org,2002:timestamp":
                return _TEXT
            if tag in _NUMBERS or tag == _TEXT:
                return next((t for t, number in _NUMBERS.items() if number.fullmatch(value)), _TEXT)
        return tag

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise _Refused(f"line {line}: a key that is a list or a mapping, expected a name")
            if key in seen:
                raise _Refused(f"line {line}: key {str(key)[:60]!r} is there twice, first in line {seen[key]}")
            seen[key] = line
        return super().construct_mapping(node, deep)


def read_settings(path: Path, kind: Kind) -> dict[str, Any]:
    """The mapping that the file holds.

    Raises InputError if the file cannot be read, is over its kind's bound, or is no YAML mapping as
    described above.
    """
    try:
        data = _parsed(read_text(path, kind))
    except (yaml.YAMLError, ValueError, ArithmeticError, TypeError, RecursionError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        fault = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: {fault if isinstance(error, _Refused) else f'not YAML ({fault})'}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, got {type(data).__name__}")
    return data


def read_value(text: str) -> Any:
    """One YAML value as it is written on the command line.  Raises ValueError if it is none."""
    if len(text) > MAX_VALUE_LENGTH:
        raise ValueError(f"{len(text)} characters, expected at most {MAX_VALUE_LENGTH}")
    try:
        return _parsed(text)
    except (yaml.YAMLError, ArithmeticError, TypeError, RecursionError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None


def set_dotted(data: dict[str, Any], key: str, value: object) -> None:
    """Set a key of nested mappings, ``pe_array.rows``, making groups on the way.

    Raises KeyError with the name of a part that is a value, not a group of keys.
    """
    *parents, last = key.split(".")
    target = data
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise KeyError(parent)
        target = inner
    target[last] = value


def _parsed(text: str) -> Any:
    _check_size(text)
    return yaml.load(text, Loader=_Loader)


def _check_size(text: str) -> None:
    """Aliases, depth, and the values there are once aliases are written out, before anything is built."""
    sizes: dict[str, int] = {}  # of what each anchor names, once it is complete
    # anchor and size so far of each collection around
    open_: list[tuple[str | None, int]] = [(None, 0)]
    aliases = 0

    def add(size: int) -> None:
        anchor, sum_ = open_.pop()
        open_.append((anchor, sum_ + size))
        if sum_ + size > MAX_NODES:
            raise _Refused(f"over {MAX_NODES} values, aliases written out")

    for event in _events(text):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise _Refused(f"line {line}: over {MAX_ALIASES} aliases")
            if event.anchor not in sizes:
                raise _Refused(f"line {line}: alias {str(event.anchor)[:60]!r} of nothing before")
            add(sizes[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                sizes[event.anchor] = 1
            add(1)
        elif isinstance(event, yaml.CollectionStartEvent):
            if event.anchor:
                sizes.pop(event.anchor, None)
            open_.append((event.anchor, 1))
            if len(open_) > MAX_DEPTH:
                raise _Refused(f"line {line}: nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
            if anchor:
                sizes[anchor] = size
            add(size)


def _events(text: str) -> Iterator[Any]:
    """What the parser finds, one after the other; nothing is built."""
    yield from yaml.parse(text, Loader=_Loader)


class Section(BaseModel):
    """A group of keys in a file of settings.

    Others are refused, values do not change, neither true nor "1" nor 1.0 is 1.
    """

    # a record is built when its first values are read, not for every file that imports it
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        unmeant = _unmeant(cls)
        return {key: _marked(value, unmeant[key]) if key in unmeant else value for key, value in data.items()}


def refuse_unused(section: Section, keys: Iterable[str], where: str) -> None:
    """Raise ValueError for the first of some keys that says more than its default where it means nothing."""
    for key in keys:
        if getattr(section, key) != type(section).model_fields[key].get_default(call_default_factory=True):
            raise ValueError(f"{key}: means nothing {where}")


@cache
def _unmeant(section: type[Section]) -> dict[str, Unmeant]:
    """What pydantic would turn into a number, by the keys that take none of it.

    Booleans, texts, and fractions, though they be whole.

    Looked for once, as machines of a sweep are read by the thousand.
    """
    found: dict[str, Unmeant] = {}
    for name, field in section.model_fields.items():
        texts: Unmeant = (str,) if _leaves(field.annotation) <= {int, float, NoneType} else ()
        kinds: Unmeant = (*(kind for kind in (bool, float) if not _takes(field.annotation, kind)), *texts)
        if kinds:
            found |= {key: kinds for key in (name, field.alias) if key is not None}
    return found


class _Unmeant:
    """Stands for a boolean, a text or a fraction where none is meant.

    Pydantic would take true, "1" and 1.0 for the number 1.
    """

    def __init__(self, value: object):
        self.value = value

    def __repr__(self) -> str:
        return str(self.value).lower() if isinstance(self.value, bool) else repr(self.value)


def _marked(value: Any, kinds: Unmeant, deep: int = 3) -> Any:
    """The value, or a list or mapping of values, with what is unmeant in it marked; no key nests deeper."""
    if isinstance(value, kinds):
        return _Unmeant(value)
    if isinstance(value, list | tuple) and deep:
        return type(value)(_marked(part, kinds, deep - 1) for part in value)
    if isinstance(value, dict) and deep:
        return {key: _marked(part, kinds, deep - 1) for key, part in value.items()}
    return value


def _takes(annotation: Any, wanted: type) -> bool:
    """Whether a value of the wanted type, or a record that looks for itself, is among what an annotation names."""
    if annotation is wanted or annotation is Any or annotation is object:
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_takes(part, wanted) for part in get_args(annotation))


def _leaves(annotation: Any) -> set[Any]:
    """The types of single values that an annotation names."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _leaves(parts[0])
    if get_origin(annotation) is dict:
        return _leaves(parts[1])
    return set().union(*(_leaves(part) for part in parts if part is not ...)) if parts else {annotation}
