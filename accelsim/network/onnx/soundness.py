"""What an ONNX file must keep to as a whole, before any of its nodes is read: a version, and every name given once."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from accelsim.network.onnx.draft import Unfit

NEWEST_OPSET = 28  # what a later version means by its operators is not known


def opset(model: Any) -> int:
    """The version of the operators.

    Raises Unfit if the file states none, several, or one that is not known.
    """
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if len(versions) != 1:
        stated = ", ".join(map(str, sorted(versions))) or "none"
        raise Unfit(f"versions of its operators (opset_import): {stated}, expected one")
    (version,) = versions
    if not 1 <= version <= NEWEST_OPSET:
        raise Unfit(f"opset_import: operators of version {version}, expected 1 to {NEWEST_OPSET}")
    return int(version)


def check_names(graph: Any, taken: Collection[str] = ()) -> None:
    """Raise Unfit if two things of a graph have one name, or one that is ``taken``, or an output has none.

    An input may be among the constants: these are its default then.
    """
    _once("input", [value.name for value in graph.input], taken)
    _once("output", [value.name for value in graph.output], ())
    if not all(value.name for value in graph.output):
        raise Unfit("an output without a name")
    constants = [tensor.name for tensor in graph.initializer]
    _once("constant", constants, taken)
    given = [name for node in graph.node for name in node.output if name]
    _once("tensor", given, {*taken, *constants, *(value.name for value in graph.input)})


def _once(what: str, names: Iterable[str], taken: Collection[str]) -> None:
    seen = set(taken)
    for name in names:
        if name in seen:
            raise Unfit(f"{what} {name[:100]!r} is there twice, expected every name once")
        seen.add(name)


def attributes_of(onnx: Any, node: Any, version: int) -> dict[str, Any]:
    """A node's attributes by name.

    Raises Unfit if one is there twice, or of another type than the operator's.

    version: of the operators.
    """
    _once("attribute", [attribute.name for attribute in node.attribute], ())
    known = _known_attributes(onnx, node, version)
    for attribute in node.attribute:
        expected = known.get(attribute.name)
        if expected is not None and attribute.type != expected.type.value:
            found = onnx.AttributeProto.AttributeType.Name(attribute.type)
            raise Unfit(f"attribute {attribute.name!r} is of type {found}, expected {expected.type.name}")
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _known_attributes(onnx: Any, node: Any, version: int) -> Mapping[str, Any]:
    """The attributes that the package knows of an operator.

    None of an operator that it does not know.
    """
    try:
        return dict(onnx.defs.get_schema(node.op_type, version, node.domain).attributes)
    except Exception:  # of the package's own kind
        return {}
