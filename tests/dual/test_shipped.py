"""The shipped models: each file is what its card says, and no mutation of it passes with other weights."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.dual.container import pack, unpack
from accelsim.dual.file import decode_dual, read_dual, read_indices
from accelsim.dual.manifest import MAX_MANIFEST_BYTES
from accelsim.dual.model import winograd_eligible
from accelsim.errors import InputError
from accelsim.network import forward
from accelsim.network.images import read_images
from tests.dual.test_file import mutations, survives

PATH = Path(__file__).parents[2] / "models" / "resnet20-cifar10.dual"
RESNET20 = [PATH, PATH.with_name("resnet20-cifar10-winograd.dual")]
SHIPPED = [*RESNET20, PATH.with_name("squeezenet11-imagenet.dual")]


@pytest.fixture(scope="module", params=RESNET20, ids=lambda path: path.stem)
def model(request):
    return read_dual(request.param)


def test_all_shipped_files_are_tested():
    assert sorted(PATH.parent.glob("*.dual")) == sorted(SHIPPED)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_card_is_of_this_file(path):
    model = read_dual(path)
    card = path.with_suffix(".md").read_text()
    assert model.sha256 in card
    assert f"{model.file_bytes} bytes" in card
    measured = [float(value) for value in re.findall(r"^\| top-1.*\| (\d+\.\d+) %", card, re.MULTILINE)]
    names = ("top1_reference", "top1_spatial", "top1_winograd")
    assert measured == [pytest.approx(model.accuracy[name], abs=0.005) for name in names]
    licences = re.findall(r"`(LICENSE-[^`]+)`", card)
    assert licences
    assert all(path.with_name(name).exists() for name in licences)


def survives_with_right_crcs(path, count, seed):
    """Mutated members in a sound archive: each gives one InputError at once."""
    parts, names = unpack(path.read_bytes(), MAX_MANIFEST_BYTES), ["weights", "values", "manifest.json", "digest"]
    found = 0
    for i in range(count):
        name = names[i % 4]
        mutation = next(mutations(parts[name], 1, seed + i))
        if mutation == parts[name]:
            continue
        content = pack({**parts, name: mutation}, frozenset({"manifest.json"}))
        start = time.process_time()
        with pytest.raises(InputError, match="digest"):
            decode_dual(content, "x.dual")
        assert time.process_time() - start < 0.5
        found += 1
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_is_refused_at_once_when_altered(path):
    assert survives_with_right_crcs(path, 200, seed=7) > 150


def test_it_is_smaller_than_the_papers_figure(model):
    assert model.parameters == 269_722  # akamaster/pytorch_resnet_cifar10
    assert 4 * model.parameters / model.file_bytes >= 24.2  # arXiv:1902.08192, for ResNet-18


def test_it_loses_at_most_a_point_in_both_domains(model):
    dense, *decoded = (model.accuracy[f"top1_{name}"] for name in ("reference", "spatial", "winograd"))
    assert dense - min(decoded) <= 1.0


def test_which_machine_wins_is_a_matter_of_the_weights():
    """What README.md says of the two: fewer zeros in one domain, more in the other, and who is the faster then."""
    totals = [
        [r.total for r in accelsim.compare(read_dual(path), ["spatial-16x16", "winograd-16x16"], level="layers")]
        for path in RESNET20
    ]
    (spatial, winograd), (other_spatial, other_winograd) = totals
    assert other_spatial["effectual_macs"] > spatial["effectual_macs"]
    assert other_winograd["effectual_macs"] < winograd["effectual_macs"]
    assert winograd["cycles"] > spatial["cycles"]
    assert other_winograd["cycles"] < other_spatial["cycles"]


def test_every_eligible_layer_has_its_tile_and_every_layer_its_density(model):
    graph = model.network.graph
    assert set(model.winograd_m) == {node.name for node in graph.nodes if winograd_eligible(node)}
    assert len(model.winograd_m) == 17
    assert set(model.input_density) == {node.name for node in graph.nodes if node.layer.op in ("conv", "linear")}
    assert all(((0 <= d) & (d <= 1)).all() for d in model.input_density.values())


def test_indices_are_zero_where_weights_are():
    model = read_dual(PATH)
    for name, n in read_indices(PATH).items():
        np.testing.assert_array_equal(n == 0, model.network.arrays[name] == 0)


def test_it_knows_the_sample_images(model):
    images = read_images(PATH.parent / model.provenance["images"])
    x = model.network.graph.preprocessing.apply(images.pixels[:100])
    hits = (forward(model.network, x).argmax(axis=1) == images.labels[:100]).mean()
    assert 100 * hits >= model.accuracy["top1_spatial"] - 12  # four standard errors of 100 images


def test_mutations_of_the_real_file_are_refused():
    assert survives(PATH.read_bytes(), read_dual(PATH), 300, seed=8) > 250


@pytest.mark.slow
def test_ten_thousand_mutations_of_the_real_file_are_refused():
    assert survives(PATH.read_bytes(), read_dual(PATH), 10_000, seed=9) > 9_000


@pytest.mark.slow
def test_ten_thousand_mutations_with_right_crcs_are_refused():
    assert survives_with_right_crcs(PATH, 10_000, seed=20_000) > 9_000
