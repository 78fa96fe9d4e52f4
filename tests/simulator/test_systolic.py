"""Dense systolic arrays against the closed forms of SCALE-Sim 3 and of STONNE's output-stationary mesh, exactly.

P output pixels, K = R S C, M filters on an H x W array:
SCALE-Sim OS = ceil(P/H) ceil(M/W) (K + H + W - 2) - 1; WS = ceil(K/H) ceil(M/W) (P + 2H + W - 2) - 1;
IS = ceil(K/H) ceil(P/W) (M + 2H + W - 2) - 1.  STONNE = sum over folds of (K + rows used + columns used + 3).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.run import run
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.workload import layer_works
from tests.laws import law

from .random_layers import layer, random_model, spatial

ROOMY = {f"buffers__{name}_kb": 1 << 20 for name in ("weight", "input", "output")}
IDEAL = {"dram__type": "ideal", "zero_handling": "none", "weight_format": "dense", **ROOMY}
FORMS = {"output_stationary": "os", "weight_stationary": "ws", "input_stationary": "is"}


def up(a: int, b: int) -> int:
    return -(-a // b)


def scale_sim(dataflow: str, P: int, K: int, M: int, H: int, W: int) -> int:
    if dataflow == "output_stationary":
        return up(P, H) * up(M, W) * (K + H + W - 2) - (H * W > 1)  # one lane takes a cycle for each of its MACs
    if dataflow == "weight_stationary":
        return up(K, H) * up(M, W) * (P + 2 * H + W - 2) - 1
    return up(K, H) * up(P, W) * (M + 2 * H + W - 2) - 1


def stonne(P: int, K: int, M: int, H: int, W: int) -> int:
    rows = [min(H, P - i) for i in range(0, P, H)]
    cols = [min(W, M - j) for j in range(0, M, W)]
    return sum(K + r + c + 3 for r in rows for c in cols)


@law(120)
@given(
    dataflow=st.sampled_from(sorted(FORMS)), H=st.integers(1, 40), W=st.integers(1, 40), M=st.integers(1, 90),
    C=st.integers(1, 70), size=st.integers(3, 14), kernel=st.integers(1, 3), stride=st.integers(1, 2),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_scale_sim(
    dataflow: str, H: int, W: int, M: int, C: int, size: int, kernel: int, stride: int, seed: int
) -> None:
    """Where the buffers hold the layer and the DRAM needs no time."""
    work = layer(M, C, size, kernel, stride=stride, padding=0, density=0.5, seed=seed)
    array = {"pe_array__rows": H, "pe_array__cols": W, "pe_array__feed": "systolic"}
    total = run([work], spatial(dataflow=dataflow, **array, **IDEAL), engine="fast").total
    P, K = work.out_height * work.out_width, C * kernel * kernel
    assert total["cycles"] == total["compute_cycles"] == scale_sim(dataflow, P, K, M, H, W)


@law(60)
@given(H=st.integers(1, 40), W=st.integers(1, 40), M=st.integers(1, 90), C=st.integers(1, 70), size=st.integers(3, 14))
def test_stonne(H: int, W: int, M: int, C: int, size: int) -> None:
    work = layer(M, C, size, 3, padding=0)
    array = {"pe_array__rows": H, "pe_array__cols": W, "pe_array__feed": "mesh"}
    total = run([work], spatial(**array, **IDEAL), engine="fast").total
    assert total["cycles"] == stonne((size - 2) ** 2, 9 * C, M, H, W)


@pytest.mark.parametrize(("network", "cycles"), [("resnet18-folded", {"scale_sim": 2_133_315, "stonne": 2_142_348})])
def test_a_whole_network_on_32_x_32(network: str, cycles: dict[str, int]) -> None:
    """The totals measured with both peers on ResNet-18, convolutions and classifier, output-stationary."""
    works = [work for work in layer_works(random_model(network)) if work.weights is not None]
    for feed, peer, tolerance in (("systolic", "scale_sim", 0), ("mesh", "stonne", 2e-5)):
        array = {"pe_array__rows": 32, "pe_array__cols": 32, "pe_array__feed": feed}
        total = run(works, spatial(**array, **IDEAL), engine="fast").total
        assert total["cycles"] == pytest.approx(cycles[peer], rel=tolerance)


@law(40)
@given(groups=st.sampled_from([2, 4, 8]), H=st.integers(1, 12), W=st.integers(1, 12), batch=st.integers(1, 3))
def test_groups_and_images(groups: int, H: int, W: int, batch: int) -> None:
    """A grouped layer is so many layers one after the other; a batch is that many more output pixels."""
    work = layer(8, 16, 7, 3, groups=groups, batch=batch)
    array = {"pe_array__rows": H, "pe_array__cols": W, "pe_array__feed": "systolic"}
    total = run([work], spatial(**array, **IDEAL), engine="fast").total
    from_zero = H * W > 1
    one = scale_sim("output_stationary", 49 * batch, 9 * 16 // groups, 8 // groups, H, W) + from_zero
    assert total["cycles"] == groups * one - from_zero


def test_one_systolic_lane_takes_a_cycle_for_each_multiply() -> None:
    """SCALE-Sim counts to the last cycle, from 0: of one lane that would be fewer cycles than multiplies."""
    array = {"pe_array__rows": 1, "pe_array__cols": 1, "pe_array__feed": "systolic"}
    for channels, size in ((1, 1), (3, 1), (3, 4)):
        total = run([layer(2, channels, size, 1, padding=0)], spatial(**array, **IDEAL), engine="fast").total
        assert total["cycles"] == 2 * channels * size**2
        assert total["utilization"] == 1


def test_rows_of_a_systolic_array_inject_their_operands_each_by_itself() -> None:
    """16 outputs of a 3 x 3 layer of 8 channels, two groups of filters: 9 x 8 operands an output and group."""
    work = layer(8, 8, 4, 3, density=1.0)
    reads = {}
    for feed in ("systolic", "broadcast"):
        machine = spatial(zero_handling="none", pe_array={"rows": 4, "cols": 4, "feed": feed})
        plan = tiled_schedule(machine.modes(work)[0], Tiling(1, 4, 4, 8, 8, False), machine)
        reads[feed] = plan.actions["input_read"] / 8
    assert reads["systolic"] == 16 * 9 * 8 * 2
    assert reads["broadcast"] == 16 * (3 * 6 / 4) * 8 * 2
