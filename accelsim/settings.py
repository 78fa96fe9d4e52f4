"""Reading a user's YAML file of settings: a machine, a sweep, a recipe.  Bounded in size; nothing in it is executed."""

from pathlib import Path
from typing import Any

import yaml

from accelsim.errors import InputError

MAX_FILE_BYTES = 1 << 20


def read_settings(path: Path, what: str) -> dict[str, Any]:
    """The mapping that the file holds.  what: its kind for messages, such as ``machine description``.

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
