"""PSNR of a super-resolution network as it stands, and pruned in either domain.

An image passes through in strips, so that memory does not grow with it.  Strips overlap by all that
an output row can depend on and start at whole Winograd tiles, so they give exactly what the whole
image would.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.network.graph import Graph
from accelsim.network.layers import Conv
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training.compiled import CompiledNetwork, Execution
from accelsim.training.evaluate import by_domain
from accelsim.training.ops import Op
from accelsim.training.superresolution import Photographs, Plane
from accelsim.training.winograd_op import winograd_operations

STRIP = 100_000  # pixels, about


def psnr(y: Plane, truth: Plane, border: int) -> float:
    """Peak signal-to-noise ratio in dB at 8 bits, a border left out.

    y, truth: (H, W), 0 to 255.
    """
    inner = slice(border, -border or None)
    rounded = np.floor(y.clip(0, 255).astype(np.float64) + 0.5)
    error = float(((rounded - truth)[inner, inner] ** 2).mean())
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def psnr_by_set(
    graph: Graph,
    arrays: Mapping[str, Array],
    photographs: Photographs,
    *,
    workers: int = 1,
    filters: Mapping[str, Array] | None = None,
    tiles: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Mean PSNR in dB of the images of each set.

    filters, tiles: pruned Winograd-domain filters and m of F(m, r), by layer, of those that run
    there.
    """
    return {
        name: _mean(
            psnr(enhance(graph, arrays, low, workers=workers, filters=filters, tiles=tiles), truth, photographs.scale)
            for low, truth in zip(planes.values(), photographs.high[name].values(), strict=True)
        )
        for name, planes in photographs.low.items()
    }


def bicubic_psnr(photographs: Photographs) -> dict[str, float]:
    """Mean PSNR in dB of each set's enlarged images, as they enter the network."""
    border = photographs.scale
    return {
        name: _mean(psnr(low, high, border) for low, high in zip(planes.values(), truth.values(), strict=True))
        for name, (planes, truth) in (
            (name, (photographs.low[name], photographs.high[name])) for name in photographs.low
        )
    }


def psnr_in_both_domains(
    graph: Graph,
    arrays: Mapping[str, Array],
    photographs: Photographs,
    regularizer: JointRegularizer,
    thresholds: tuple[float, float],
    **options: Any,
) -> dict[str, dict[str, float]]:
    """PSNR by set in dB, unpruned and pruned in either domain.

    ``unpruned``; ``spatial``: zeros where |w| <= theta_SD; ``winograd``: where |W| <= theta_WD.

    thresholds: (theta_SD, theta_WD).  options: as ``psnr_by_set``.
    """

    def measure(some: Mapping[str, Array], filters: dict[str, Array]) -> dict[str, float]:
        tiles = regularizer.winograd if filters else {}
        return psnr_by_set(graph, some, photographs, filters=filters, tiles=tiles, **options)

    return by_domain(measure, arrays, regularizer, thresholds)


def enhance(
    graph: Graph,
    arrays: Mapping[str, Array],
    plane: Plane,
    *,
    workers: int = 1,
    filters: Mapping[str, Array] | None = None,
    tiles: Mapping[str, int] | None = None,
) -> Plane:
    """What the network makes of an enlarged plane: (H, W) float32, 0 to 255 -> the same."""
    H, W = plane.shape
    tiles = tiles or {}
    operations: dict[str, Callable[..., Op]] = winograd_operations(dict(filters or {}), dict(tiles))
    whole = int(np.lcm.reduce([1, *tiles.values()]))
    margin = -(-_reach(graph, tiles) // whole) * whole
    height = max(STRIP // W, margin, 1)
    height = -(-height // whole) * whole
    out = np.empty_like(plane)
    for top in range(0, H, height):
        first = max(top - margin, 0)
        last = min(top + height + margin, H)
        part = graph.with_input_shape((last - first, W, 1))
        compiled = CompiledNetwork(part, arrays, 1, execution=Execution(workers=workers), operations=operations)
        x = part.preprocessing.apply(plane[None, first:last, :, None])
        y = compiled.forward(x)[0, top - first : top - first + height, :, 0]
        out[top : top + height] = y * np.float32(part.preprocessing.scale)
        compiled.close()
    return out


def _reach(graph: Graph, tiles: Mapping[str, int]) -> int:
    """Rows up or down that an output may depend on, at most.

    Kernels, and the tiles they are computed in, add up.
    """
    return sum(
        node.layer.kernel[0] // 2 + tiles.get(node.name, 1) - 1 for node in graph.nodes if isinstance(node.layer, Conv)
    )


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
