"""Functions of each number, and of two tensors element by element."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from accelsim.network.layers import Add, Affine, Clip, Layer, Relu
from accelsim.network.onnx.call import Call, shortest
from accelsim.network.onnx.draft import Draft, Grid, Tensor, Unfit, Value
from accelsim.network.tensors import Combine, Function, Operand, Pointwise, stretched

Reader = Callable[[Call], list[Value]]


def relu(call: Call) -> list[Value]:
    return [call.apply(Relu(), call.tensor())]


def clip(call: Call) -> list[Value]:
    bounds: list[float | None] = []
    if len(call.inputs) > 3:
        raise Unfit(f"{len(call.inputs)} inputs, expected x, min and max")
    for number, name in enumerate(("min", "max"), start=1):
        # attributes up to version 6, then inputs
        given = call.constant(number)
        value = call.take(name, None) if given is None else given
        if value is not None and np.size(value) != 1:
            raise Unfit(f"{name} has {np.size(value)} values, expected one")
        bounds.append(None if value is None else float(np.asarray(value, np.float32).item()))
    low, high = bounds
    largest = float(np.finfo(np.float32).max)
    if (low is not None and low >= largest) or (high is not None and high <= -largest):
        raise Unfit(f"from {low} to {high}, expected bounds that leave some numbers")
    low, high = (x if x is None or abs(x) < largest else None for x in bounds)
    return [call.apply(Clip(low=low, high=high), call.tensor())]


def _function(name: str, alpha: float | None = None, beta: float | None = None) -> Reader:
    """A function of each number; alpha, beta.

    What ONNX's attributes are by default, None where it has none.
    """

    def read(call: Call) -> list[Value]:
        numbers = {}
        if alpha is not None:
            numbers["alpha"] = call.number("alpha", alpha)
        if beta is not None:
            numbers["beta"] = call.number("beta", beta)
        return [call.apply(Pointwise(function=cast(Function, name), **numbers), call.tensor())]

    return read


def gelu(call: Call) -> list[Value]:
    name = "gelu_tanh" if call.attributes.get("approximate") == b"tanh" else "gelu"
    call.expect("approximate", b"none", b"tanh")
    return _function(name)(call)


def swish(call: Call) -> list[Value]:
    call.expect("alpha", 1.0)
    return _function("silu")(call)


def negative(call: Call) -> list[Value]:
    return [linear_function(call, call.tensor(), -1.0, 0.0)]


def prelu(call: Call) -> list[Value]:
    x = call.tensor()
    slope = call.array(1)
    if slope.ndim > len(x.dims):
        raise Unfit(f"slopes of {list(slope.shape)[:16]}, expected some that fit {list(x.dims)}")
    if slope.size == 1:
        return [call.apply(Pointwise(function="leaky_relu", alpha=float(slope.reshape(-1)[0])), x)]
    return [_with_constant(call, "prelu", x, slope)]


def power(call: Call) -> list[Value]:
    x = call.tensor()
    exponent = call.array(1)
    if exponent.size != 1 or exponent.ndim > len(x.dims):
        raise Unfit(f"{list(exponent.shape)} exponents, expected one number")
    return [call.apply(Pointwise(function="power", alpha=float(exponent.reshape(-1)[0])), x)]


def identity(call: Call) -> list[Value]:
    """Identity and Dropout."""
    mode = call.constant(2)
    if call.operator == "Dropout":
        call.attributes.clear()
        if mode is not None and mode.dtype == np.bool_ and mode.any():
            raise Unfit("training_mode is true, expected a network for inference")
    return [call.tensor()]


def cast_(call: Call) -> list[Value]:
    """From one floating-point type to another, or from integers to what they are as numbers."""
    x = call.tensor()
    to = call.take("to", 1)
    call.attributes.pop("saturate", None)
    if to not in (1, 10, 11, 16):  # FLOAT, FLOAT16, DOUBLE, BFLOAT16
        raise Unfit(f"to type {to}, expected floating point")
    return [on_grid(call, x, Grid(scale=1.0, zero=0)) if x.grid else x]


def on_grid(call: Call, x: Tensor, grid: Grid) -> Tensor:
    """The real numbers that a tensor's integers stand for by this grid, be it its own or another."""
    assert x.grid is not None
    own = x.grid
    real = replace(x, grid=None)
    if own == grid:
        return real
    return linear_function(call, real, grid.scale / own.scale, grid.scale * (own.zero - grid.zero))


def sum_(call: Call) -> list[Value]:
    """Add and Sum."""
    tensors = [x for x in call.inputs if isinstance(x, Tensor)]
    first = tensors[0]
    alike = all((x.dims, x.axes, x.batched) == (first.dims, first.axes, first.batched) for x in tensors)
    if len(tensors) == len(call.inputs) > 1 and alike:
        return [call.apply(Add(), *tensors)]
    return _arithmetic("add")(call)


def _arithmetic(function: str) -> Reader:
    """Two operands (max, min and sum: any number), either of them constant."""

    def read(call: Call) -> list[Value]:
        result: Value | None = None
        for value in call.inputs:
            if value is None:
                raise Unfit("an input is missing")
            result = value if result is None else _of_two(call, function, result, value)
        assert result is not None
        return [result]

    return read


def _of_two(call: Call, function: str, a: Value, b: Value) -> Value:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return of_tensors(call, function, a, b)
    if isinstance(a, Tensor):
        assert isinstance(b, np.ndarray)
        return _tensor_first(call, function, a, np.asarray(b, np.float32))
    assert isinstance(b, Tensor)
    constant = np.asarray(a, np.float32)
    match function:
        case "sub":  # c - x
            return _with_constant(call, "add", linear_function(call, b, -1.0, 0.0), constant)
        case "div":  # c / x
            return _with_constant(call, "mul", call.apply(Pointwise(function="reciprocal"), b), constant)
        case "pow":
            raise Unfit("a constant to the power of a tensor, expected the tensor first")
    return _tensor_first(call, function, b, constant)


def _tensor_first(call: Call, function: str, x: Tensor, constant: NDArray[Any]) -> Tensor:
    match function:
        case "sub":
            return _with_constant(call, "add", x, -constant)
        case "div":
            if not constant.all():
                raise Unfit("divides by 0")
            return _with_constant(call, "mul", x, (1 / constant.astype(np.float64)).astype(np.float32))
    return _with_constant(call, function, x, constant)


def _with_constant(call: Call, function: str, x: Tensor, constant: NDArray[Any]) -> Tensor:
    """x and a constant: one number, a number a channel, or any other shape."""
    draft = call.draft
    if constant.size == 1 and constant.ndim <= len(x.dims):
        number = shortest(constant.reshape(-1)[0])
        match function:
            case "add":
                return linear_function(call, x, 1.0, number)
            case "mul":
                return linear_function(call, x, number, 0.0)
            case "max":
                return call.apply(Clip(low=number), x)
            case "min":
                return call.apply(Clip(high=number), x)
    dims = stretched(x.dims, constant.shape)
    if draft.batch > 1 and x.batched and len(dims) == constant.ndim and constant.shape[0] != 1:
        raise Unfit(f"a constant of {list(constant.shape)[:16]} for {draft.batch} images, expected one for all")
    while constant.ndim > len(x.shape) and constant.shape[0] == 1:
        constant = constant[0]
    rank = max(len(x.shape), constant.ndim)
    x = draft.ranked(call.name, x, rank)
    operand = draft.like(x, constant)
    layer: Layer = Operand.model_validate({"function": function, "shape": operand.shape})
    arrays: dict[str, NDArray[Any]] = {"operand": operand}
    channels = x.stored[-1] if x.stored else 1
    if function in ("add", "mul") and operand.size == operand.shape[-1] == channels:
        layer = Affine(channels=channels)
        flat = operand.reshape(-1)
        ones = np.ones(channels, np.float32)
        arrays = {"weight": ones, "bias": flat} if function == "add" else {"weight": flat, "bias": 0 * ones}
    y = draft.apply(call.name, layer, x, **arrays)
    y = draft.settled(call.name, replace(y, batched=len(dims) > rank))
    return y if y.dims == dims else draft.reshaped(call.name, y, dims)


def linear_function(call: Call, x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha x + beta, together with what of that kind is right before it."""
    before = call.draft.nodes.get(x.source)
    if before is not None and isinstance(before.layer, Pointwise) and before.layer.function == "linear":
        beta += alpha * before.layer.beta
        alpha = shortest(alpha * before.layer.alpha)
        x = replace(x, source=before.inputs[0])
    if abs(alpha - 1) < 1e-7 and beta == 0:
        return x
    return call.apply(Pointwise(function="linear", alpha=alpha, beta=shortest(beta)), x)


def of_tensors(call: Call, function: str, a: Tensor, b: Tensor) -> Tensor:
    """Two tensors of the image; sizes of 1 are stretched."""
    if function == "mul" and (fused := _fused(call, a, b) or _fused(call, b, a)):
        return fused
    draft = call.draft
    rank = max(len(a.shape), len(b.shape))
    dims = stretched(a.dims, b.dims)
    lead = a if (len(a.shape), np.prod(a.shape)) >= (len(b.shape), np.prod(b.shape)) else b
    one, other = (draft.laid(call.name, draft.ranked(call.name, x, rank), lead.axes) for x in (a, b))
    layer: Layer = Combine.model_validate({"function": function})
    if function == "add" and one.stored == other.stored:
        layer = Add()
    return draft.settled(call.name, replace(call.apply(layer, one, other), batched=len(dims) > rank))


def _fused(call: Call, x: Tensor, gate: Tensor) -> Tensor | None:
    """x times a function of x, as one function: SiLU, hard swish, Mish, GELU.

    None if it is no such product.
    """
    if x.axes != gate.axes or x.shape != gate.shape:
        return None
    draft = call.draft
    scale, x_source = _scaled(draft, x.source)
    names, source = _functions(draft, gate.source)
    whole = {
        ("sigmoid",): ("silu", 1.0),
        ("hard_swish_gate",): ("hard_swish", 1.0),
        ("tanh", "softplus"): ("mish", 1.0),
        ("one_more", "erf", "over_root_two"): ("gelu", 2.0),
    }.get(names)
    if whole is None or source != x_source or (scale != 1.0 and whole[0] != "gelu"):
        return None
    function, factor = whole
    y = call.apply(Pointwise(function=cast(Function, function)), replace(x, source=x_source))
    return linear_function(call, y, factor * scale, 0.0)


def _scaled(draft: Draft, source: str) -> tuple[float, str]:
    """A source as a number times another one."""
    node = draft.nodes.get(source)
    layer = None if node is None else node.layer
    if node is not None and isinstance(layer, Pointwise) and layer.function == "linear" and layer.beta == 0:
        return layer.alpha, node.inputs[0]
    return 1.0, source


def _functions(draft: Draft, source: str) -> tuple[tuple[str, ...], str]:
    """The functions, last one first, that lead to a source, and what they are of."""
    names: list[str] = []
    while len(names) < 3:
        node = draft.nodes.get(source)
        if node is None or not isinstance(node.layer, Pointwise):
            break
        layer = node.layer
        name = node.layer.function
        if name == "hard_sigmoid" and abs(layer.alpha - 1 / 6) < 1e-6 and layer.beta == 0.5:
            names.append("hard_swish_gate")
        elif name == "linear" and (layer.alpha, layer.beta) == (1.0, 1.0):
            names.append("one_more")
        elif name == "linear" and abs(layer.alpha - 0.5**0.5) < 1e-5 and layer.beta == 0:
            names.append("over_root_two")
        elif name == "linear":
            break
        else:
            names.append(name)
        source = node.inputs[0]
        if tuple(names) in (("sigmoid",), ("hard_swish_gate",), ("tanh", "softplus")):
            break
    return tuple(names), source


OPERATORS: dict[str, Reader] = {
    "Relu": relu,
    "Clip": clip,
    "Sigmoid": _function("sigmoid"),
    "Tanh": _function("tanh"),
    "HardSigmoid": _function("hard_sigmoid", 0.2, 0.5),
    "HardSwish": _function("hard_swish"),
    "Swish": swish,
    "Gelu": gelu,
    "Mish": _function("mish"),
    "LeakyRelu": _function("leaky_relu", 0.01),
    "Elu": _function("elu", 1.0),
    "PRelu": prelu,
    "Softplus": _function("softplus"),
    "Softsign": _function("softsign"),
    "Exp": _function("exp"),
    "Log": _function("log"),
    "Sqrt": _function("sqrt"),
    "Reciprocal": _function("reciprocal"),
    "Abs": _function("abs"),
    "Erf": _function("erf"),
    "Floor": _function("floor"),
    "Ceil": _function("ceil"),
    "Round": _function("round"),
    "Sin": _function("sin"),
    "Cos": _function("cos"),
    "Neg": negative,
    "Pow": power,
    "Add": sum_,
    "Sum": sum_,
    "Sub": _arithmetic("sub"),
    "Mul": _arithmetic("mul"),
    "Div": _arithmetic("div"),
    "Max": _arithmetic("max"),
    "Min": _arithmetic("min"),
    "Identity": identity,
    "Dropout": identity,
    "Cast": cast_,
}
