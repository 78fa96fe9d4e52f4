"""What each layer of a model is, beside what machines make of it.

Its shape, and what of it is not zero.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from accelsim.dual.deploy import spatial_densities, winograd_densities
from accelsim.dual.model import DualModel
from accelsim.workload import LayerTable, LayerWork, layer_works, without_weights

DENSITIES = ("weight_density", "winograd_density", "input_density")
COLUMNS = ("shape", *DENSITIES)


def layer_facts(model: DualModel | LayerTable) -> pd.DataFrame:
    """One row a layer with ``COLUMNS``.

    Densities are 0 to 1, and NaN where there are no such weights.

    The Winograd density of a table's layer is not known before its weights are drawn: NaN.
    """
    spatial: Mapping[str, float]
    winograd: Mapping[str, float]
    if isinstance(model, LayerTable):
        spatial = {layer.name: layer.weight_density for layer in model.layers if layer.weights}
        winograd = {}
    else:
        spatial = spatial_densities(model)
        winograd = winograd_densities(model)
    rows = []
    for work in without_weights(layer_works(model)):
        densities = (spatial.get(work.name, np.nan), winograd.get(work.name, np.nan), float(work.input_density.mean()))
        rows.append(dict(zip(COLUMNS, (_shape(work), *densities), strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _shape(work: LayerWork) -> str:
    """Input and output as channels x height x width, and the kernel with what is unusual of it."""
    maps = f"{work.in_channels}x{work.height}x{work.width} to {work.out_channels}x{work.out_height}x{work.out_width}"
    if work.kind not in ("conv", "pool"):
        return maps
    parts = [f"{work.kernel[0]}x{work.kernel[1]}"]
    for word, pair in (("stride", work.stride), ("padding", work.padding), ("dilation", work.dilation)):
        usual = (0, 0) if word == "padding" else (1, 1)
        if pair != usual:
            parts.append(f"{word} {pair[0]}" if pair[0] == pair[1] else f"{word} {pair[0]}x{pair[1]}")
    if work.groups > 1:
        parts.append(f"{work.groups} groups")
    return f"{maps}, {', '.join(parts)}"
