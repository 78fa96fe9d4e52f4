"""Networks that give pictures: PSNR on machines of both kinds, in whole numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.datapath.pictures import psnr, validate_pictures
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.network import INPUT, Network
from accelsim.network.graph import Preprocessing
from accelsim.network.images import PicturePairs, read_pairs
from accelsim.network.layers import Add
from accelsim.network.zoo.builder import Builder

MACHINES = [Datapath("array", "spatial"), Datapath("wino", "winograd", m=2)]


def sharpener():
    """x + (x - its mean of 3 x 3) / 2, by two layers: a residual network whose outputs are known."""
    b = Builder("sharpener", (20, 20, 1), Preprocessing())
    b.conv("blur", 2, 3)
    b.conv("edge", 1, 1)
    b.add("add", Add(), b.last, INPUT)
    graph = b.graph()
    blur = np.zeros((2, 1, 3, 3), np.float32)
    blur[0] = 1 / 9
    blur[1, 0, 1, 1] = 1
    edge = np.array([-0.5, 0.5], np.float32).reshape(1, 2, 1, 1)
    return Network(graph, {"blur.weight": blur, "edge.weight": edge})


def pairs_of(count=6, size=12):
    """Blocks, and what sharpening makes of them by NumPy alone with noise of 10 levels: 20 log10(25.5) = 28.1 dB."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(60, 190, (count, size // 2, size // 2, 1))
    pixels = coarse.repeat(2, axis=1).repeat(2, axis=2).astype(np.uint8)
    padded = np.pad(pixels.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)))
    mean = sum(padded[:, i : i + size, j : j + size] for i in range(3) for j in range(3)) / 9
    sharp = np.clip(pixels + (pixels - mean) / 2 + rng.normal(0, 10, pixels.shape), 0, 255)
    return PicturePairs(pixels, np.floor(sharp + 0.5).astype(np.uint8))


def model():
    return DualModel(network=sharpener(), winograd_m={"blur": 2}, winograd_threshold=0.0)


def test_psnr_is_that_of_its_definition():
    """One grey level off everywhere: 20 log10 255 = 48.13 dB; half of the pixels off by two: the mean square is 2."""
    targets = np.full((2, 4, 4, 1), 100, np.uint8)
    y = targets.astype(np.float32)
    y[0] += 1.2
    y[1, :2] -= 2
    np.testing.assert_allclose(psnr(y, targets), [48.1308, 48.1308 - 10 * np.log10(2)], atol=1e-3)
    assert psnr(targets, targets).tolist() == pytest.approx([100, 100])


def test_both_machines_give_the_pictures_at_any_size():
    found = validate_pictures(model(), MACHINES, pairs_of(), arithmetic="integers")
    assert found.served_by_both is None  # what the compression lost is not known
    assert found.reference == "decoded"
    assert found.reference_psnr_db == pytest.approx(28.1, abs=0.6)  # clipping, and 864 samples
    assert found.input_psnr_db is not None
    assert found.input_psnr_db < 26
    for machine in found.machines:
        assert machine.psnr_db == pytest.approx(found.reference_psnr_db, abs=0.2)
        assert machine.layers


def test_losses_count_from_the_uncompressed_network_where_it_is_known():
    pairs = pairs_of()
    known = replace(pairs, reference=np.clip(pairs.targets.astype(int) + 40, 0, 255).astype(np.uint8))
    found = validate_pictures(model(), MACHINES, known, arithmetic="float")
    assert found.reference == "uncompressed"
    assert found.reference_psnr_db == pytest.approx(20 * np.log10(255 / 40), abs=0.5)
    assert all(machine.loss_db < -10 for machine in found.machines)  # better than that network
    assert found.served_by_both


def test_one_picture_gives_no_verdict():
    pairs = pairs_of()
    one = PicturePairs(pairs.pixels[:1], pairs.targets[:1], pairs.targets[:1])
    found = validate_pictures(model(), MACHINES, one, arithmetic="float")
    assert found.served_by_both is None
    assert [machine.loss_standard_error for machine in found.machines] == [None, None]


def test_narrow_words_are_named_with_their_bits():
    narrow = replace(MACHINES[1], integers=Integers(weight_bits=2))
    found = validate_pictures(model(), [MACHINES[0], narrow], pairs_of(), tolerance_db=0.3)
    assert found.served_by_both is False
    first = found.machines[1].too_narrow[0]
    assert first.unit == "weights"
    assert first.layer in {"blur", "edge"}
    assert first.needed is not None
    assert 2 < first.needed <= 12


def test_the_public_call_takes_a_file(tmp_path: Path):
    pairs = pairs_of()
    np.savez(tmp_path / "pairs.npz", images=pairs.pixels, targets=pairs.targets)
    found = accelsim.validate(
        model(), ["spatial-16x16", "winograd-16x16"], tmp_path / "pairs.npz", tolerance_points=0.3
    )
    assert found.served_by_both is None
    assert json.loads(json.dumps(found.to_dict()))["reference"] == "decoded"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 8, 8, 1), np.uint8)}, "no array 'targets'"),
        ({"images": np.zeros((2, 8, 8, 1), np.uint8), "targets": np.zeros((3, 8, 8, 1), np.uint8)}, "targets is uint8"),
        ({"images": np.zeros((2, 8, 8, 1)), "targets": np.zeros((2, 8, 8, 1), np.uint8)}, "images is float64"),
        ({k: np.zeros((2, 8, 8, 1), np.uint8) for k in ("images", "targets", "more")}, "array 'more' is not known"),
    ],
)
def test_unsound_files_are_refused_in_one_line(tmp_path: Path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(tmp_path / "bad.npz")
    assert "\n" not in str(caught.value)


def test_pictures_that_do_not_fit_are_refused():
    pairs = pairs_of()
    with pytest.raises(InputError, match="channels"):
        validate_pictures(model(), MACHINES, replace(pairs, pixels=pairs.pixels.repeat(3, axis=3)))
    with pytest.raises(InputError, match="targets of"):
        validate_pictures(model(), MACHINES, replace(pairs, targets=pairs.targets[:, :4]))
    with pytest.raises(InputError, match="no machine"):
        validate_pictures(model(), [], pairs)
