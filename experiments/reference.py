"""Write docs/reference/: every key of machine, sweep and recipe files, from the models that read them; every column.

``python -m experiments.reference``; a test holds the pages to the code.
"""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelsim.compression.recipe import CompressionRecipe
from accelsim.explore.description import SweepDescription
from accelsim.files import write_text
from accelsim.report.glossary import GLOSSARY
from accelsim.simulator.machines import FAMILIES
from accelsim.training.recipe import Recipe
from experiments.paths import ROOT

DOCS = ROOT / "docs" / "reference"
HEAD = "<!-- Written by `python -m experiments.reference`. -->\n\n"
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}  # of a JSON schema, in words


def pages() -> dict[str, str]:
    """Content of each page by its file name."""
    families = [
        f"## {family.__name__}\n\n{inspect.getdoc(family)}\n\n{table_of(family, skip=_shared(family))}"
        for family in FAMILIES
    ]
    common = f"## Every machine\n\n{table_of(FAMILIES[0], only=_shared(FAMILIES[0]))}"
    machines = "Keys of a machine file, as `--set KEY=VALUE` and sweeps name them.\n\n"
    return {
        "machines.md": HEAD + "# Machine files\n\n" + machines + "\n".join([common, *families]),
        "sweeps.md": HEAD + "# Sweep files\n\n" + table_of(SweepDescription),
        "training.md": HEAD + "# Training recipes\n\n" + table_of(Recipe),
        "compression.md": HEAD + "# Compression recipes\n\n" + table_of(CompressionRecipe),
        "columns.md": HEAD + "# Columns of results\n\n" + _columns(),
    }


def _shared(family: type[BaseModel]) -> set[str]:
    """The keys that every family has, at the top level."""
    common = set.intersection(*(set(other.model_fields) for other in FAMILIES))
    same = {name for name in common if all(_same(other, family, name) for other in FAMILIES)}
    return same & set(family.model_fields)


def _same(one: type[BaseModel], other: type[BaseModel], name: str) -> bool:
    """Whether two families mean the same by a key."""
    return repr(one.model_fields[name]) == repr(other.model_fields[name])


def table_of(record: type[BaseModel], *, only: set[str] | None = None, skip: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """A Markdown table of a record's keys: name, what it takes, default, meaning."""
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key, field, owner in keys_of(record):
        top = key.partition(".")[0].removesuffix("[]")
        if top in skip or (only is not None and top not in only):
            continue
        attribute = next(name for name, other in owner.model_fields.items() if other is field)
        meaning = docstrings(owner).get(attribute, "")
        cells = (f"`{key}`", takes(owner, key), default(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def keys_of(record: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, type[BaseModel]]]:
    """Every key, dotted, those of groups after the group: the key, its field, the record that has it."""
    for name, field in record.model_fields.items():
        group, many = group_of(field.annotation)
        yield f"{prefix}{field.alias or name}", field, record
        if group is not None:
            yield from keys_of(group, f"{prefix}{field.alias or name}{many}.")


def group_of(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The record within a key's type, and ``[]`` where the key holds several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    for part in get_args(annotation):
        found, many = group_of(part)
        if found is not None:
            several = getattr(annotation, "__origin__", None) in (tuple, list, dict)
            return found, "[]" if several else many
    return None, ""


def takes(owner: type[BaseModel], key: str) -> str:
    """What a key may hold, in words."""
    schema = _schema(owner)
    name = key.rpartition(".")[2]
    return _words(schema["properties"].get(name, {}), schema.get("$defs", {}))


@cache
def _schema(record: type[BaseModel]) -> dict[str, Any]:
    return record.model_json_schema()


def _words(part: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """A part of a JSON schema in words."""
    if "$ref" in part:
        inner = defined.get(part["$ref"].rpartition("/")[2], {})
        return "keys below" if inner.get("type") == "object" else _words(inner, defined)
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_words(option, defined) for option in part["anyOf"]))
    kind = part.get("type", "value")
    if kind == "array":
        return f"list of {_words(part.get('items', {}), defined)}"
    if kind == "object":
        inner = part.get("additionalProperties")
        return f"name: {_words(inner, defined)}" if isinstance(inner, Mapping) else "keys below"
    bounds = [text.format(_bound(part[bound])) for bound, text in BOUNDS.items() if bound in part]
    return " ".join([{"null": "nothing", "string": "text", "boolean": "true, false"}.get(kind, kind), *bounds])


def _bound(value: float) -> float:
    """A whole number as one: whether a schema has 1 or 1.0 is its library's affair."""
    return int(value) if abs(value) < 1e15 and float(value).is_integer() else value


def default(field: FieldInfo) -> str:
    """A key's default, or that it is required."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "below"
    return "" if value is None or value == {} or value == () else f"`{value}`"


@cache
def docstrings(record: type[BaseModel]) -> Mapping[str, str]:
    """The docstring of each key, from the source of its class and of those that it derives from."""
    found: dict[str, str] = {}
    for owner in reversed(record.__mro__):
        if owner is BaseModel or not issubclass(owner, BaseModel):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        found |= _attribute_docstrings(body.body)
    return found


def _attribute_docstrings(body: Sequence[ast.stmt]) -> dict[str, str]:
    """The text behind each annotated name, in one line."""
    found = {}
    for statement, following in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found


def _columns() -> str:
    lines = ["| column | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{column}` | {text} |" for column, text in GLOSSARY.items())]) + "\n"


def main() -> None:
    """Write the pages."""
    for name, content in pages().items():
        write_text(DOCS / name, content)


if __name__ == "__main__":
    main()
