"""SGD with Nesterov momentum and Adam, on one flat vector of all parameters.

And the moving average of it.

Sources: Sutskever et al. 2013 in PyTorch's formulation; Kingma & Ba 2015.  Weight decay is added to
the gradient.
"""

from typing import Any, Literal

import numpy as np

from accelsim.arrays import Array


class Optimizer:
    """Updates a flat parameter vector in place.

    ``state`` names the vectors that a checkpoint must keep.
    """

    def __init__(self, size: int, weight_decay: float, xp: Any = np):
        self.weight_decay = np.float32(weight_decay)
        self.xp = xp
        self.state: dict[str, Array] = {}
        self.steps = 0
        self.scratch: Array = xp.empty(size, np.float32)

    def step(self, values: Array, gradient: Array, rate: float) -> None:
        """values -= update.  values, gradient: (P,) float32; ``gradient`` is overwritten."""
        raise NotImplementedError

    def _decay(self, values: Array, gradient: Array) -> None:
        if self.weight_decay:
            self.xp.multiply(values, self.weight_decay, out=self.scratch)
            gradient += self.scratch


class Sgd(Optimizer):
    """v <- mu v + g;  w <- w - rate (g + mu v)."""

    def __init__(self, size: int, weight_decay: float = 0.0, momentum: float = 0.9, xp: Any = np):
        super().__init__(size, weight_decay, xp)
        self.momentum = np.float32(momentum)
        self.state["momentum"] = xp.zeros(size, np.float32)

    def step(self, values: Array, gradient: Array, rate: float) -> None:
        self.steps += 1
        self._decay(values, gradient)
        v = self.state["momentum"]
        v *= self.momentum
        v += gradient
        self.xp.multiply(v, self.momentum, out=self.scratch)
        gradient += self.scratch
        gradient *= np.float32(rate)
        values -= gradient


class Adam(Optimizer):
    """Adam with bias correction."""

    epsilon = np.float32(1e-8)

    def __init__(
        self,
        size: int,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        xp: Any = np,
    ):
        super().__init__(size, weight_decay, xp)
        self.betas = betas
        self.state["first"] = xp.zeros(size, np.float32)
        self.state["second"] = xp.zeros(size, np.float32)

    def step(self, values: Array, gradient: Array, rate: float) -> None:
        self.steps += 1
        self._decay(values, gradient)
        beta1, beta2 = self.betas
        first = self.state["first"]
        second = self.state["second"]
        first *= np.float32(beta1)
        self.xp.multiply(gradient, np.float32(1 - beta1), out=self.scratch)
        first += self.scratch
        second *= np.float32(beta2)
        gradient *= gradient
        gradient *= np.float32(1 - beta2)
        second += gradient
        self.xp.sqrt(second, out=gradient)
        gradient *= np.float32(1 / np.sqrt(1 - beta2**self.steps))
        gradient += self.epsilon
        self.xp.divide(first, gradient, out=gradient)
        gradient *= np.float32(rate / (1 - beta1**self.steps))
        values -= gradient


def make_optimizer(
    kind: Literal["sgd", "adam"], size: int, weight_decay: float, momentum: float, xp: Any = np
) -> Optimizer:
    """The optimiser of a recipe."""
    return Sgd(size, weight_decay, momentum, xp) if kind == "sgd" else Adam(size, weight_decay, (momentum, 0.999), xp)
