"""From a model to what each of its layers asks of any machine: a ``.dual`` file's, or a table's with random weights."""

from collections.abc import Sequence

from accelsim.dual.model import DualModel
from accelsim.workload.graph import model_works
from accelsim.workload.layer import (
    ALONE,
    CHANNEL_BLOCK,
    MAX_BATCH,
    MAX_DRAWN_WEIGHTS,
    MAX_WEIGHTS,
    Drawn,
    LayerWork,
    Surroundings,
    WeightsCome,
    block_sizes,
    filters_in_order,
    over_taps,
)
from accelsim.workload.table import (
    LayerTable,
    TableWorks,
    find_table,
    load_table,
    made_once,
    table_works,
    without_weights,
)

__all__ = [
    "ALONE",
    "CHANNEL_BLOCK",
    "MAX_BATCH",
    "MAX_DRAWN_WEIGHTS",
    "MAX_WEIGHTS",
    "Drawn",
    "LayerTable",
    "LayerWork",
    "Surroundings",
    "TableWorks",
    "WeightsCome",
    "block_sizes",
    "filters_in_order",
    "find_table",
    "layer_works",
    "load_table",
    "made_once",
    "over_taps",
    "without_weights",
]


def layer_works(model: DualModel | LayerTable, batch: int = 1) -> Sequence[LayerWork]:
    """What each layer of the model asks, in order, for a batch of images; a table's are made each time they are read.

    Raises ValueError if batch < 1, InputError if a layer of a table has too many weights.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")
    return table_works(model, batch) if isinstance(model, LayerTable) else model_works(model, batch)
