"""A plan's life: what it allocated is gone when it is closed."""

import gc
import weakref

import numpy as np

from accelsim.network.zoo import named_graph
from accelsim.training.plan import Plan
from accelsim.training.run import initial_arrays


def test_a_closed_plan_frees_its_buffers_at_once():
    graph = named_graph("resnet20-cifar10")
    gc.collect()
    gc.disable()  # reference counts alone must free it
    try:
        plan = Plan(graph, initial_arrays(graph, 0), 4)
        plan.forward(np.zeros((4, *graph.input_shape), np.float32))
        buffers = [weakref.ref(plan), weakref.ref(plan.ops["layer1.0.conv1"])]
        plan.close()
        del plan
        assert [buffer() for buffer in buffers] == [None, None]
    finally:
        gc.enable()
