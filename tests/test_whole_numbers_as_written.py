"""A key that counts takes a whole number as it is written, 2 and not 2.0, in every kind of file that a user writes.

1e1 and 2.0 are fractions to YAML 1.2; whoever writes 2.5 meant something else, and is told so at 2.0 already.
"""

import json
from pathlib import Path

import pytest

import accelsim
from accelsim.compression.recipe import load_compression_recipe
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.manifest import parse_manifest
from accelsim.errors import InputError
from accelsim.explore.description import read_description
from accelsim.network.tables import read_table
from accelsim.training.recipe import load_recipe
from tests.small_dual import ROOT

SWEEP = """
models: [resnet20-cifar10]
machines: {spatial: {base: spatial-16x16, axes: {pe_array.rows: [8]}}}
sampling: {method: random, points: 4}
"""
TABLE = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding\nc,conv,3,4,8,8,3,3,1,1\n"
MACHINE = (ROOT / "hwconfigs" / "winograd-16x16.yaml").read_text()
TRAINING = "network: resnet20-cifar10\ndata: {kind: cifar10, path: x}\nepochs: 9\n"


def _load_machine(path: Path) -> object:
    return accelsim.load_hardware(path)


@pytest.mark.parametrize(
    ("read", "text", "whole", "fraction", "told"),
    [
        pytest.param(load_compression_recipe, "tile: 2\n", "2", "2.0", ("tile: ", "got 2.0"), id="compression"),
        pytest.param(load_compression_recipe, "value_bits: 10\n", "10", "1e1", ("value_bits: ", "got 10.0"), id="1e1"),
        pytest.param(load_recipe, TRAINING, "epochs: 9", "epochs: 9.0", ("epochs: ", "got 9.0"), id="training"),
        pytest.param(_load_machine, MACHINE, "rows: 16", "rows: 16.0", ("pe_array.rows: ", "got 16.0"), id="machine"),
        pytest.param(read_description, SWEEP, "points: 4", "points: 4.0", ("points: ", "got 4.0"), id="sweep"),
        pytest.param(read_table, TABLE, "conv,3,", "conv,3.0,", ("'in_channels'", "'3.0'"), id="table"),
    ],
)
def test_a_fraction_is_no_whole_number(tmp_path, read, text, whole, fraction, told):
    path = tmp_path / "file"
    path.write_text(text)
    read(path)
    path.write_text(text.replace(whole, fraction, 1))
    with pytest.raises(InputError) as refused:
        read(path)
    for words in (str(path), *told):
        assert words in str(refused.value)


@pytest.mark.parametrize("wrong", [3.0, True, "3"])
@pytest.mark.parametrize("place", ["kernel", "input_shape", "m", "bits"])
def test_a_manifest_counts_in_whole_numbers(place, wrong):
    layer = {"op": "conv", "in_channels": 3, "out_channels": 3, "kernel": [3, 3], "bias": False}
    graph = {"name": "n", "input_shape": [3, 3, 3], "nodes": [{"name": "c", "layer": layer, "inputs": ["input"]}]}
    content = {
        "format": "accelsim-dual",
        "version": 2,
        "graph": graph,
        "parameters": 81,
        "coder": "bz2",
        "quantization": {"cell": 0.1},
        "winograd": {"threshold": 0, "m": 3},
        "values": {"bits": 3, "exponents": {}},
    }
    parse_manifest(json.dumps(content).encode())
    layer["kernel"] = [3, wrong] if place == "kernel" else [3, 3]
    graph["input_shape"] = [wrong if place == "input_shape" else 3, 3, 3]
    content["winograd"]["m"] = wrong if place == "m" else 3
    content["values"]["bits"] = wrong if place == "bits" else 3
    with pytest.raises(DamagedFile, match=place):
        parse_manifest(json.dumps(content).encode())
