"""Images in small batches on all cores: in order, as many at once as memory that is used again can hold."""

from math import ceil

import numpy as np
import pytest

from accelsim.datapath import batches
from accelsim.network.count import peak_bytes

from .test_validate import classifier


@pytest.mark.parametrize(("room", "at_once"), [(1, 1), (3, 3), (100, 10)])
def test_images_come_back_in_order_and_batches_keep_to_their_memory(monkeypatch, room, at_once):
    graph = classifier()
    monkeypatch.setattr(batches, "BATCH_BYTES", room * peak_bytes(graph))
    pixels = np.arange(23, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, *graph.input_shape), np.uint8)
    prepared = graph.preprocessing.apply(pixels)
    found = batches.in_batches(graph, pixels, lambda x: x, batch=10)
    assert len(found) == ceil(23 / at_once)
    assert max(map(len, found)) == at_once
    assert np.array_equal(np.concatenate(found), prepared)
