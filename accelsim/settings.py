"""Reading a user's YAML file of settings: a machine, a sweep, a recipe.

Bounded in size; nothing in it is executed.
"""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from accelsim.errors import InputError

MAX_FILE_BYTES = 1 << 20

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]  # of random numbers
Threads = Annotated[int, Field(ge=1, le=256)]


class Section(BaseModel):
    """A group of keys of a user's file: unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_settings(path: Path, what: str) -> dict[str, Any]:
    """The mapping that the file holds.

    what: its kind for messages, such as ``machine description``.

    Raises InputError if the file cannot be read, is over a megabyte, or is no YAML mapping.
    """
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise InputError(f"{path}: {size} bytes, expected a {what} of at most {MAX_FILE_BYTES}")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a {what}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, got {type(data).__name__}")
    return data


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
