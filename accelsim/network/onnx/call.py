"""One ONNX node while it is read: its inputs and attributes, and the layers that it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.network.layers import Layer
from accelsim.network.onnx.draft import Draft, Tensor, Unfit, Value


@dataclass
class Call:
    """What an operator's reader is given.

    It takes the attributes that it understands; what is left over is refused.

    name, weight_name: of layers without and with arrays.  inputs: None where one is left out.
    outputs: how many are there.  opset: the version of the operators.
    """

    draft: Draft
    operator: str
    name: str
    weight_name: str
    inputs: list[Value | None]
    attributes: dict[str, Any]
    outputs: int = 1
    opset: int = 13

    def tensor(self, number: int = 0) -> Tensor:
        """An input that is computed from the image.

        Raises Unfit if it is constant or not there.
        """
        value = self.inputs[number] if number < len(self.inputs) else None
        if not isinstance(value, Tensor):
            raise Unfit(f"input {number} is {'missing' if value is None else 'constant'}, expected one of the image")
        return value

    def image(self, number: int = 0) -> Tensor:
        """An input as images stored (H, W, C).  Raises Unfit if it is none."""
        return self.draft.image(self.name, self.tensor(number))

    def constant(self, number: int) -> NDArray[Any] | None:
        """A constant input, None where it is left out.

        Raises Unfit if it is computed from the image.
        """
        value = self.inputs[number] if number < len(self.inputs) else None
        if isinstance(value, Tensor):
            raise Unfit(f"input {number} is computed from the image, expected a constant")
        return value

    def array(self, number: int, *dimensions: int) -> NDArray[Any]:
        """A constant input of so many dimensions.  Raises Unfit if it is not there or another."""
        found = self.constant(number)
        if found is None or (dimensions and found.ndim not in dimensions):
            what = "nothing" if found is None else f"{list(found.shape)}"
            wanted = f" of {' or '.join(map(str, dimensions))} dimensions" if dimensions else ""
            raise Unfit(f"input {number} is {what}, expected a constant{wanted}")
        return found

    def integers(self, number: int, name: str) -> list[int] | None:
        """What newer versions have as a constant input and older ones as an attribute.

        None if neither is there.
        """
        attribute = self.attributes.pop(name, None)
        found = self.constant(number)
        given = attribute if found is None else found
        return None if given is None else [int(x) for x in np.asarray(given).reshape(-1)[:4096]]

    def take(self, name: str, default: Any) -> Any:
        """An attribute, or its default."""
        return self.attributes.pop(name, default)

    def flag(self, name: str, default: bool) -> bool:
        """An attribute that is 0 or 1.  Raises Unfit if it is another number."""
        value = self.attributes.pop(name, int(default))
        if value not in (0, 1):
            raise Unfit(f"{name} is {value!r}, expected 0 or 1")
        return bool(value)

    def number(self, name: str, default: float) -> float:
        """An attribute: the shortest decimal that gives the float32 which ONNX stores, 1e-4, not 9.99999974e-05."""
        return shortest(self.attributes.pop(name, default))

    def expect(self, name: str, *expected: object) -> None:
        """Accept an attribute that is absent or has one of the values that our layers have."""
        value = self.attributes.pop(name, expected[0])
        if value not in expected:
            raise Unfit(f"{name} is {value!r}, expected {expected[0]!r}")

    def apply(self, layer: Layer, *tensors: Tensor, **arrays: NDArray[Any]) -> Tensor:
        """The output of a layer on these tensors, which are stored in one order of axes.

        The output keeps it.
        """
        return self.draft.apply(self.weight_name if arrays else self.name, layer, *tensors, **arrays)

    def reshaped(self, tensor: Tensor, dims: Sequence[int]) -> Tensor:
        """The tensor's numbers in another ONNX shape."""
        return self.draft.reshaped(self.name, tensor, dims)


def shortest(value: float) -> float:
    """The shortest decimal that gives this number as float32."""
    return float(str(np.float32(value)))
