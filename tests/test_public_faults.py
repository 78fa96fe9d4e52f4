"""Faults that people meet, each with its right value: one row a fault, its input built here.

Right values come from outside the code: MACs and bytes by hand from the layer's shape, another runtime's forward pass,
the arithmetic of the file's own text.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

import accelsim
from accelsim.cli import main
from accelsim.dual.file import CompressedNetwork, write_dual
from accelsim.dual.manifest import weight_names
from accelsim.dual.quantizer import Quantizer
from accelsim.explore.store import checksum
from accelsim.explore.sweep import run_sweep
from accelsim.files import DUAL, read_bytes, write_bytes, write_folder
from accelsim.network import Graph, Node
from accelsim.network.layers import Affine, Conv, Flatten, GlobalAveragePool, Linear, MaxPool, PadChannels
from accelsim.network.tables import read_table, table_text
from accelsim.training.checkpoint import MODEL, STATE, cells_beside, load_state, save_model, save_state
from tests.laws import ALL
from tests.small_dual import ROOT, write_images, write_small

SCALE_SIM = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter,"
NETWORK = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding"
MACHINE = (ROOT / "hwconfigs" / "spatial-16x16.yaml").read_text()


def run(*arguments):
    """Exit status and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


def one_line(status, out, err):
    """The message of a command that must be refused: status 2, one line, no traceback."""
    assert (status, out) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 2500
    return err


def command(*arguments, timeout=60, **more):
    """The same in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | more.pop("env", {})
    line = [sys.executable, "-m", "accelsim.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, timeout=timeout, cwd=ROOT, env=environment, check=False, **more)


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# --- topologies and tables of layers


@pytest.mark.parametrize(
    ("header", "row", "layers", "dense_macs", "output_bytes"),
    [
        pytest.param(
            f"{SCALE_SIM} Stride Height, Stride Width,",
            "c1,64,64,3,3,16,32,1,2,",
            1,
            62 * 31 * 16 * 9 * 32,
            62 * 31 * 32,
            id="two-strides",
        ),
        pytest.param(
            f"{SCALE_SIM} Strides, Sparsity Ratio,",
            "c1,34,34,3,3,16,32,1,1:4,",
            1,
            4_718_592,
            32_768,
            id="sparsity-ratio",
        ),
        pytest.param(
            f"{SCALE_SIM} Strides, Batch Size,",
            "c1,34,34,3,3,16,32,1,8,",
            1,
            8 * 4_718_592,
            8 * 32_768,
            id="batch-column",
        ),
        pytest.param(
            f"{SCALE_SIM} Strides,", "DP_conv1,34,34,3,3,32,1,1,", 32, 32 * 32 * 32 * 9, 32_768, id="depthwise-row"
        ),
        pytest.param(
            "Layer Name, M, N, K, Sparsity,",
            "G, 3, 5, 16, 3:4,\nG, 1, 5, 16, 1:4,",
            2,
            4 * 5 * 16,
            20,
            id="one-name-twice",
        ),
        pytest.param(NETWORK, "conv1d,conv,1,16,1,128,1,7,2,3", 1, 4 * 64 * 7 * 16, 4096, id="one-dimension"),
    ],
)
@pytest.mark.parametrize("machine", ["spatial-16x16", "scnn-like"])
def test_a_table_is_read_as_it_is_meant(tmp_path, header, row, layers, dense_macs, output_bytes, machine):
    path = file(tmp_path, "t.csv", f"{header}\n{row}\n")
    status, out, err = run("simulate", path, machine, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert len(found["layers"]) == layers
    assert len({layer["name"] for layer in found["layers"]}) == layers
    assert found["total"]["dense_macs"] == dense_macs
    assert machine != "spatial-16x16" or found["total"]["dram_output_bytes"] == output_bytes


def test_a_sparsity_ratio_is_a_density(tmp_path):
    (layer,) = read_table(file(tmp_path, "t.csv", f"{SCALE_SIM} Strides, Sparsity Ratio,\nc,9,9,3,3,8,4,1,1:4\n"))
    assert layer.weight_density == 0.25


def test_a_topology_keeps_strides_and_batch_as_a_network_csv(tmp_path):
    text = f"{SCALE_SIM} Stride Height, Stride Width, Batch,\n=c1,64,64,3,3,16,32,1,2,4\nDP,9,9,3,3,2,3,1,1,1\n"
    layers = read_table(file(tmp_path, "t.csv", text))
    assert read_table(file(tmp_path, "n.csv", table_text(layers))) == layers


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        pytest.param(
            f"{SCALE_SIM} Strides, Dilation,", "c,9,9,3,3,8,4,1,2", "'dilation' is not known", id="unknown-column"
        ),
        pytest.param(
            f"{SCALE_SIM} Stride Width, Stride Height,", "c,9,9,3,3,8,4,1,2", "'stride width'", id="strides-swapped"
        ),
        pytest.param(
            f"{SCALE_SIM} Strides, Sparsity,",
            f"c,9,9,3,3,8,4,1,{'1' * 5000}:{'1' * 5000}",
            "expected N:M",
            id="huge-ratio",
        ),
        pytest.param(
            f"{SCALE_SIM} Strides, Strides,", "c,9,9,3,3,8,4,1,2", "'strides' is there twice", id="one-key-twice"
        ),
        pytest.param(f"{SCALE_SIM} Strides,", "DP,9,9,3,3,1048576,4,1", "over 10000 layers", id="a-million-depthwise"),
        pytest.param(
            NETWORK, "L,pool,1048576,1048576,1048576,1048576,2,2,2,0", "1152921504606846976 elements", id="huge-pool"
        ),
        pytest.param(f"{NETWORK},colour", "c,conv,3,4,8,8,3,3,1,1,red", "'colour' is not known", id="unknown-key"),
        pytest.param(
            f"{NETWORK},weight_density",
            "p,pool,4,4,8,8,2,2,2,0,0.5",
            "row 2, column 'weight_density': '0.5' means nothing for pool, expected an empty cell",
            id="density-of-a-pool",
        ),
        pytest.param(
            f"{NETWORK},weight_density", "a,add,4,4,8,8,1,1,1,0,0", "'0' means nothing for add", id="density-of-an-add"
        ),
        pytest.param(f"{NETWORK},groups", "p,other,4,4,8,8,1,1,1,0,4", "'4' means nothing for other", id="groups"),
        pytest.param(NETWORK, "a,add,4,4,8,8,3,3,1,1", "'3' means nothing for add", id="kernel-of-an-add"),
        pytest.param(NETWORK, "l,linear,16,16,1,1,1,1,1,1", "'1' means nothing for linear", id="padding-of-a-linear"),
        pytest.param(NETWORK, "l,linear,16,16,1,1,1,1,2,0", "'2' means nothing for linear", id="stride-of-a-linear"),
        pytest.param(
            f"{NETWORK},dilation", "l,linear,16,16,1,1,1,1,1,0,3", "'3' means nothing for linear", id="dilated-linear"
        ),
        pytest.param(
            f"{NETWORK},padding_w",
            "a,add,4,4,8,8,1,1,1,0,3",
            "'3' means nothing for add",
            id="padding-across",
        ),
        pytest.param(f"{NETWORK},dilation", "a,add,4,4,8,8,1,1,1,0,3", "'3' means nothing for add", id="dilated-add"),
        pytest.param(f"{NETWORK},weight_density", "c,conv,3,4,8,8,3,3,1,1,0_1", "a number of 0 to 1", id="underscore"),
        pytest.param(f"{NETWORK},weight_density", "c,conv,3,4,8,8,3,3,1,1,\uff15e-1", "a number of 0 to 1", id="wide"),
        pytest.param(NETWORK, "input,conv,3,4,8,8,3,3,1,1", "'input' is the network's input", id="called-input"),
        pytest.param(
            f"{NETWORK},inputs",
            "a,conv,3,32,8,8,3,3,1,1,input\nb,conv,64,32,8,8,3,3,1,1,a",
            "64 channels are read, these layers make 32",
            id="more-than-is-made",
        ),
        pytest.param(
            f"{NETWORK},inputs",
            "a,conv,3,32,8,8,3,3,1,1,input\nb,conv,32,64,8,8,3,3,1,1,a\nc,add,64,64,8,8,1,1,1,0,a;b",
            "64 channels are read, these layers make 32",
            id="sum-of-unequal-maps",
        ),
        pytest.param(
            NETWORK,
            'a,conv,4,4,8,8,3,3,1,1\n"b,conv,4,4,8,8,3,3,1,1\nc,conv,4,4,8,8,3,3,1,1',
            "row 3: a quote is not closed",
            id="unclosed-quote",
        ),
        pytest.param(NETWORK, '"a"b,conv,4,4,8,8,3,3,1,1', "row 2: ',' expected after '\"'", id="text-behind-a-quote"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, header, row, words):
    path = file(tmp_path, "t.csv", f"{header}\n{row}\n")
    begin = time.process_time()
    assert words in one_line(*run("simulate", path, "spatial-16x16"))
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("row", "dense_macs"),
    [
        pytest.param("c,conv,3,4,8,8,3,3,1000,1", 9 * 3 * 4, id="stride-of-1000"),
        pytest.param("c,conv,1,2,300,300,3,3,1,200", 698 * 698 * 9 * 2, id="padding-of-200", marks=pytest.mark.slow),
        pytest.param("c,conv,8,8,262144,1,1,1,1,0", (1 << 18) * 64, id="many-rows"),
        pytest.param("c,conv,4,4,150,150,149,149,1,100", 202 * 202 * 149 * 149 * 16, id="kernel-of-149"),
        pytest.param("c,conv,1,1,4000,4000,3,3,1,0", 3998 * 3998 * 9, id="image-of-4000"),
    ],
)
def test_extreme_layers_on_a_planar_array_take_seconds(tmp_path, row, dense_macs):
    path = file(tmp_path, "t.csv", f"{NETWORK}\n{row}\n")
    begin = time.process_time()
    result = accelsim.simulate(accelsim.load_workload(path), accelsim.load_hardware("scnn-like"), engine="fast")
    assert time.process_time() - begin < 12
    assert result.total["dense_macs"] == dense_macs


def test_a_million_filters_on_lanes_with_windows_take_seconds(tmp_path):
    path = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,16,1048576,1,1,1,1,1,0\n")
    begin = time.process_time()
    result = accelsim.simulate(accelsim.load_workload(path), accelsim.load_hardware("sparten-like"), engine="fast")
    assert time.process_time() - begin < 8
    assert result.total["dense_macs"] == 16 << 20


def test_more_steps_than_events_can_be_kept_are_refused_and_the_fast_engine_takes_them(tmp_path):
    # 1024 channels of 2048 x 512 pixels of 8 bits in DRAM rows of 4096 bytes: 2^18 parts.
    path = file(tmp_path, "t.csv", f"{NETWORK}\np,pool,1024,1024,2048,512,1,1,1,0\n")
    message = one_line(*run("simulate", path, "spatial-16x16"))
    assert "layer p takes 262144 steps, expected at most 131072 with engine event" in message
    status, out, _ = run("simulate", path, "spatial-16x16", "--engine", "fast", "--json")
    assert (status, json.loads(out)["total"]["dram_read_bytes"]) == (0, 1 << 30)


def test_more_steps_than_are_kept_are_refused_with_their_number_on_a_planar_array(tmp_path):
    path = file(tmp_path, "t.csv", f"{NETWORK},batch\nc,conv,64,512,4,4,3,3,1,1,1048576\n")
    message = one_line(*run("simulate", path, "scnn-like", "--engine", "fast"))
    assert "needs at least 5242880 steps, expected at most 4194304" in message


# --- YAML


def laughs(levels):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(MACHINE + "clock_mhz: 100\n", "'clock_mhz' is there twice, first in line", id="key-twice"),
        pytest.param(laughs(8) + MACHINE.replace("800", "*a7"), "aliases", id="billion-laughs"),
        pytest.param(
            "".join(f"a{i}: &a{i} [{f'*a{i - 1}, *a{i - 1}' if i else '1'}]\n" for i in range(25)) + MACHINE,
            "aliases",
            id="doubling-aliases",
        ),
        pytest.param("deep: " + "[" * 100 + "]" * 100 + "\n" + MACHINE, "deep", id="deep"),
        pytest.param("a: &a [*a]\n" + MACHINE, "alias", id="alias-in-itself"),
        pytest.param(MACHINE.replace("kind: spatial", "kind: [a]"), "kind: ['a']", id="kind-a-list"),
        pytest.param(MACHINE.replace("800", "2024-13-45"), "clock_mhz", id="no-date"),
        pytest.param(MACHINE.replace("800", "2024-05-01"), "clock_mhz", id="date"),
        pytest.param(MACHINE.replace("800", "1:30"), "clock_mhz", id="sexagesimal"),
        pytest.param(MACHINE.replace("rows: 16", "rows: yes"), "pe_array.rows", id="boolean"),
        pytest.param(MACHINE.replace("800", "1" * 5000), "digits", id="huge-number"),
        pytest.param(MACHINE.replace("800", "!!timestamp 2024-13-45"), "not YAML", id="tagged-date"),
        pytest.param(MACHINE.replace("800", ".nan"), "clock_mhz", id="nan"),
        pytest.param(MACHINE.replace("dataflow", "k" * 500), "unknown key", id="long-key"),
    ],
)
def test_yaml_that_is_not_what_it_seems_is_refused(tmp_path, text, words):
    begin = time.process_time()
    assert words in one_line(*run("inspect", file(tmp_path, "m.yaml", text)))
    assert time.process_time() - begin < 5


def test_yaml_texts_stay_texts_and_few_aliases_are_read(tmp_path):
    text = MACHINE.replace("weight_kb: 64", "weight_kb: &kb 64").replace("input_kb: 64", "input_kb: *kb")
    status, out, err = run("inspect", file(tmp_path, "m.yaml", text + "name: 2024-05-01\n"), "--json")
    assert status == 0, err
    assert json.loads(out)["machine"] == "2024-05-01"
    assert json.loads(out)["parameters"]["buffers"]["input_kb"] == 64


@pytest.mark.parametrize(
    "setting",
    ["dram.bandwidth_gbs=1e-300", "dram.bandwidth_gbs=.inf", "dram.t_rfc_ns=7800", "dram.t_rp_ns=1e300"]
    + ["energy.mac_pj=1e308", "clock_mhz=1e-300", "buffers.input_kb=1e-320", "clock_mhz=true", "clock_mhz=2024-13-45"],
)
def test_numbers_beyond_physics_are_refused(tmp_path, setting):
    path = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,3,4,8,8,3,3,1,1\n")
    key = setting.partition("=")[0]
    said = one_line(*run("simulate", path, "spatial-16x16", "--set", setting))
    assert key in said.replace("dram: ", "dram.")  # what two keys of a group say together stands behind the group


# --- the gate


READERS = {
    "simulate .dual": ("simulate", "X.dual", "spatial-16x16"),
    "simulate .csv": ("simulate", "X.csv", "spatial-16x16"),
    "inspect .yaml": ("inspect", "X.yaml"),
    "sweep": ("sweep", "X.yaml", "-o", "out"),
    "train": ("train", "X.yaml", "-o", "out"),
    "compress": ("compress", "X.safetensors", "-o", "out.dual", "--recipe", "net.yaml"),
    "compress --recipe": ("compress", "none.safetensors", "-o", "out.dual", "--recipe", "X.yaml"),
    "import .safetensors": ("import", "X.safetensors", "-o", "out.dual"),
    "import .npz": ("import", "X.npz", "-o", "out.dual"),
    "import .csv": ("import", "X.csv", "-o", "out.csv"),
    "validate": ("validate", "small.dual", "spatial-16x16", "--images", "X.npz"),
    "validate labels": ("validate", "small.dual", "spatial-16x16", "--images", "folder"),
    "report": ("report", "results"),
}


@pytest.mark.parametrize("what", ["a FIFO", "a device", "a directory"])
@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_read(tmp_path, monkeypatch, what, reader):
    monkeypatch.chdir(tmp_path)
    if "small.dual" in READERS[reader]:
        write_small(tmp_path / "small.dual")
    file(tmp_path, "net.yaml", "network: resnet20-cifar10\nspatial: 0\nwinograd: 0\n")
    for folder in ("folder", "results"):
        (tmp_path / folder).mkdir()
    names = [a for a in READERS[reader] if a.startswith("X.")] or ["folder/labels.csv", "results/totals.csv"]
    for name in names:
        if what == "a FIFO":
            os.mkfifo(tmp_path / name)
        elif what == "a device":
            (tmp_path / name).symlink_to("/dev/zero")
        else:
            (tmp_path / name).mkdir()
    begin = time.process_time()  # to open a FIFO waits for good, to read a device takes the processor
    message = one_line(*run(*READERS[reader]))
    assert what in message or what == "a directory"  # a folder of images may lack labels.csv
    assert time.process_time() - begin < 5


def test_reads_are_bounded_by_what_is_read(tmp_path):
    """A file of /proc says that it has no bytes."""
    status = Path("/proc/self/status")
    assert status.stat().st_size == 0
    assert read_bytes(status, DUAL).startswith(b"Name:")
    with pytest.raises(accelsim.InputError, match="over 4 bytes"):
        read_bytes(status, DUAL._replace(most_bytes=4))


# --- pictures


def png(width, height):
    """A PNG of one colour, small however many pixels it has."""

    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes((width // 8 + 2) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(image, kind):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 12\nshowpage\n", "expected one of PNG, JPEG", id="eps"
        ),
        pytest.param(png(13000, 13000), "13000 x 13000 pixels, expected 12 x 12", id="bomb"),
        pytest.param(saved(Image.new("RGBA", (12, 12), (1, 2, 3, 0)), "PNG"), "transparent", id="transparent"),
        pytest.param(saved(Image.new("I;16", (12, 12), 3000), "PNG"), "8 bits", id="16-bit"),
        pytest.param(saved(Image.new("RGB", (12, 12)), "PCX"), "expected one of PNG, JPEG", id="pcx"),
    ],
)
def test_pictures_are_of_known_formats_and_sizes(tmp_path, content, words):
    write_small(tmp_path / "small.dual")
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(content)
    file(folder, "labels.csv", "file,label\na.png,1\n")
    arguments = ("validate", tmp_path / "small.dual", "spatial-16x16", "--images", folder)
    assert words in one_line(*run(*arguments))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "PPM", "TIFF"])
def test_every_named_format_is_read(tmp_path, kind):
    write_small(tmp_path / "small.dual")
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a").write_bytes(saved(Image.new("RGB", (12, 12), (1, 2, 3)), kind))
    file(folder, "labels.csv", "file,label,reference\na,1,1\n")
    status, _, err = run("validate", tmp_path / "small.dual", "spatial-16x16", "--images", folder)
    assert status == 1, err  # one kind of machine: no yes, but read


@pytest.mark.parametrize("header", ["file,label,colour", "file,label,label"])
def test_labels_of_another_column_are_refused(tmp_path, header):
    write_small(tmp_path / "small.dual")
    file(tmp_path, "labels.csv", f"{header}\na.png,1,2\n")
    one_line(*run("validate", tmp_path / "small.dual", "spatial-16x16", "--images", tmp_path))


def test_a_quote_that_is_not_closed_swallows_no_labels(tmp_path):
    write_small(tmp_path / "small.dual")
    file(tmp_path, "labels.csv", 'file,label\n"a.png,1\nb.png,2\n')
    message = one_line(*run("validate", tmp_path / "small.dual", "spatial-16x16", "--images", tmp_path))
    assert "labels.csv: row 2: a quote is not closed" in message


# --- verdicts


def test_no_yes_without_a_reference(tmp_path):
    model, images = write_small(tmp_path / "small.dual"), write_images(tmp_path / "images.npz")
    status, out, _ = run("validate", model, "spatial-16x16", "winograd-16x16", "--images", images, "--json")
    found = json.loads(out)
    assert status == 1
    assert found["served_by_both"] is None
    assert [machine["loss_points"] for machine in found["machines"]] == [None, None]
    status, out, _ = run("validate", model, "spatial-16x16", "winograd-16x16", "--images", images)
    assert status == 1
    assert "yes" not in out.split("served by both kinds of machine:")[1].splitlines()[0]


def write_network(path, nodes, shape, weight=None, scale=1.0):
    """A .dual file of these nodes, every weight 1 (or as given) and every other number ``scale``."""
    graph = Graph(name="g", input_shape=shape, nodes=nodes)
    indices, values = {}, {}
    for name, size in graph.parameters.items():
        if name in weight_names(graph):
            indices[name] = np.ones(size, np.int32) if weight is None else weight
        else:
            values[name] = np.full(size, scale, np.float32)
    quantizer = Quantizer(dict.fromkeys(indices, 1.0), np.zeros(0), None)
    parts = {"winograd_m": {}, "winograd_threshold": 0.0}
    write_dual(path, CompressedNetwork(graph=graph, indices=indices, quantizer=quantizer, values=values, **parts))
    return path


def classifier(*middle, channels=3):
    """Nodes that end in one vector of ten."""
    names = [node.name for node in middle]
    return (
        *middle,
        Node(name="mean", layer=GlobalAveragePool(), inputs=(names[-1] if names else "input",)),
        Node(name="flat", layer=Flatten(), inputs=("mean",)),
        Node(name="y", layer=Linear(in_features=channels, out_features=10, bias=False), inputs=("flat",)),
    )


def test_outputs_that_are_no_numbers_give_no_verdict(tmp_path):
    large = [Node(name=f"a{i}", layer=Affine(channels=3), inputs=(f"a{i - 1}" if i else "input",)) for i in range(3)]
    model = write_network(tmp_path / "m.dual", classifier(*large), (12, 12, 3), scale=1e20)
    images = write_images(tmp_path / "images.npz", reference=np.zeros(20, int))
    status, out, err = run("validate", model, "spatial-16x16", "winograd-16x16", "--images", images)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "no finite numbers" in err


def test_a_kernel_beyond_every_transform_runs_directly(tmp_path):
    layer = Conv(in_channels=3, out_channels=4, kernel=(21, 21), padding=(10, 10))
    nodes = classifier(Node(name="c", layer=layer, inputs=("input",)), channels=4)
    model = write_network(tmp_path / "m.dual", nodes, (12, 12, 3))
    images = write_images(tmp_path / "images.npz", reference=np.zeros(20, int))
    status, out, err = run(
        "validate", model, "spatial-16x16", "winograd-16x16", "--images", images, "--json", "--float"
    )
    assert status in (0, 1), err
    assert all(machine["max_abs_error"] < 1 for machine in json.loads(out)["machines"])
    assert run("inspect", model)[0] == 0
    assert run("simulate", model, "winograd-16x16")[0] == 0


def test_activations_are_bounded(tmp_path):
    pad = Node(name="p", layer=PadChannels(before=65536, after=65536), inputs=("input",))
    nodes = (pad, *classifier(channels=65536 * 2 + 3)[:2])
    nodes = (pad, Node(name="mean", layer=GlobalAveragePool(), inputs=("p",)), nodes[2])
    model = write_network(tmp_path / "m.dual", nodes, (32, 32, 3))
    images = tmp_path / "images.npz"
    np.savez(images, images=np.zeros((60, 32, 32, 3), np.uint8), labels=np.zeros(60, int))
    assert "bytes of activations" in one_line(*run("validate", model, "spatial-16x16", "--images", images))


def test_a_huge_pool_is_one_line(tmp_path):
    nodes = (Node(name="a", layer=MaxPool(kernel=(2, 2), stride=(2, 2)), inputs=("input",)),)
    model = write_network(tmp_path / "m.dual", nodes, (1 << 17, 1 << 17, 4))
    assert "expected at most" in one_line(*run("simulate", model, "spatial-16x16"))


@pytest.mark.parametrize("coder", ["context", "bz2"])
def test_weights_that_are_all_zero_are_written_and_read(tmp_path, coder):
    layer = Conv(in_channels=512, out_channels=512, kernel=(3, 3), padding=(1, 1))
    graph = Graph(name="g", input_shape=(8, 8, 512), nodes=(Node(name="c", layer=layer, inputs=("input",)),))
    weight = np.zeros((512, 512, 3, 3), np.int32)
    parts = {"values": {}, "winograd_m": {"c": 2}, "winograd_threshold": 0.0}
    quantizer = Quantizer({"c.weight": 1.0}, np.zeros(0), None)
    network = CompressedNetwork(graph=graph, indices={"c.weight": weight}, quantizer=quantizer, **parts)
    write_dual(tmp_path / "m.dual", network, coder)
    assert not accelsim.load_model(tmp_path / "m.dual").network.arrays["c.weight"].any()


# --- names


NAMES = [
    "=cmd|' /C calc'!A0",
    "\x1b[31mX\x1b[2J",
    "blk$1$conv",
    "cost_$x^{2$",
    "[bold]y",
    "brk[/red]x",
    "層",
    "_x",
    "<b>&",
]


def test_names_are_shown_as_they_are(tmp_path, undrawn):
    rows = "\n".join(f'"{name}",34,34,3,3,16,32,1,' for name in NAMES)
    path = file(tmp_path, "t.csv", f"{SCALE_SIM} Strides,\n{rows}\n")
    status, out, err = run("compare", path, "spatial-16x16", "winograd-16x16", "-o", tmp_path / "out")
    assert status == 0, err
    assert "\x1b" not in out
    assert r"\x1b[31mX\x1b[2J" in out.replace("\n", "")
    assert "brk[/red]x" in out
    tables = [path.read_text() for path in (tmp_path / "out").glob("*.csv")]
    assert not any(line.startswith(("=", '"=')) for table in tables for line in table.splitlines())
    assert not any("\x1b" in table for table in tables)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;b&gt;&amp;" in page
    assert "\x1b" not in page
    assert run("report", tmp_path / "out")[0] == 0


def test_a_terminal_without_the_letters_shows_others(tmp_path):
    path = file(tmp_path, "t.csv", f"{SCALE_SIM} Strides,\n層,34,34,3,3,16,32,1,\n")
    done = command("compare", path, "spatial-16x16", env={"PYTHONIOENCODING": "cp1252"})
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("to", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_one_line(tmp_path, to):
    path = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,3,4,8,8,3,3,1,1\n")
    line = f"exec {sys.executable} -m accelsim.cli simulate {path} spatial-16x16 --json {to}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, cwd=ROOT, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


# --- what is written


def test_permissions_are_those_of_any_new_file(tmp_path, undrawn):
    path = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,3,4,8,8,3,3,1,1\n")
    before = os.umask(0o077)
    try:
        assert run("compare", path, "spatial-16x16", "-o", tmp_path / "out")[0] == 0
        assert run("simulate", path, "spatial-16x16", "--trace", tmp_path / "t.json")[0] == 0
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in ((tmp_path / "t.json"), *(tmp_path / "out").iterdir())}
    assert modes == {0o600}


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    path = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,3,4,8,8,3,3,1,1\n")
    assert run("simulate", path, "spatial-16x16", "--trace", "/dev/null")[0] == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_links_are_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_bytes(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"1"


def test_links_in_a_circle_are_one_line_wherever_something_is_written(tmp_path, undrawn):
    table = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,3,4,8,8,3,3,1,1\n")
    for name, to in (("a", "b"), ("b", "a"), ("c.csv", "c.csv")):
        (tmp_path / name).symlink_to(tmp_path / to)
    circle, machine = tmp_path / "a", "spatial-16x16"
    for arguments in (
        ("simulate", table, machine, "--trace", circle),
        ("simulate", table, machine, "--trace", circle / "trace.json"),
        ("simulate", table, machine, "--table", tmp_path / "c.csv"),
        ("simulate", table, machine, "--table", tmp_path / "c.csv", "--trace", circle),
        ("compare", table, machine, "-o", circle),
        ("compare", table, machine, "-o", circle / "out"),
        ("import", table, "-o", tmp_path / "c.csv"),
        ("sweep", "resnet20-machines", "-o", circle),
        ("train", "resnet20-joint", "-o", circle),
        ("report", circle),
        ("simulate", tmp_path / "c.csv", machine),
    ):
        status, _, err = run(*arguments)
        assert (status, err.count("\n")) == (2, 1), (arguments, err)
        assert err.startswith("error: ")
    assert circle.is_symlink()
    with pytest.raises(accelsim.InputError, match="links that lead in a circle"):
        write_folder(circle, {"x": b""})


WRITER = """
import sys
from pathlib import Path
from accelsim.files import write_folder
files = {f"{i}": sys.argv[2].encode() * 200_000 for i in range(12)}
print("go", flush=True)
while True:
    write_folder(Path(sys.argv[1]), files)
"""


def test_a_folder_is_the_old_or_the_new_whenever_the_writer_dies(tmp_path):
    folder = tmp_path / "out"
    old = {f"{i}": b"old" for i in range(12)}
    rng = np.random.default_rng(0)
    for _ in range(12 if ALL else 6):
        write_folder(folder, {**old, "mine.txt": b"mine"})
        assert [p.name for p in tmp_path.iterdir()] == ["out"]  # what the last one left is swept
        line = [sys.executable, "-c", WRITER, str(folder), "new"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as p:
            assert p.stdout.readline() == b"go\n"
            time.sleep(float(rng.uniform(0, 0.15)))
            p.send_signal(signal.SIGKILL)
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found.pop("mine.txt") == b"mine"
        assert found.keys() == old.keys()
        assert len({content[:3] for content in found.values()}) == 1
        assert all(len(content) in (3, 600_000) for content in found.values())


def test_tables_of_an_older_comparison_go_and_other_files_stay(tmp_path, undrawn):
    path = file(tmp_path, "t.csv", f"{NETWORK}\nc,conv,3,4,8,8,3,3,1,1\n")
    folder = tmp_path / "out"
    assert run("compare", path, "spatial-16x16", "-o", folder)[0] == 0
    file(folder, "notes.txt", "mine")
    assert run("compare", path, "winograd-16x16", "-o", folder)[0] == 0
    names = {p.name for p in folder.iterdir()}
    assert {"notes.txt", "winograd-16x16.csv"} <= names
    assert "spatial-16x16.csv" not in names


# --- sweeps


BASE = """models: [{table}]
axes: {{rows: [4, 8], cols: [4, 8]}}
machines:
  s: {{base: spatial-16x16, set: {{pe_array.rows: rows, pe_array.cols: cols}}}}
"""


@pytest.fixture
def sweep_file(tmp_path):
    table = file(tmp_path, "net.csv", f"{NETWORK}\nc1,conv,16,32,32,32,3,3,1,1\n")

    def make(more="", old="", new=""):
        text = BASE.format(table=table)
        assert old in text
        return file(tmp_path, "sweep.yaml", text.replace(old, new) + more)

    return make


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep of two points; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("swept")
    table = file(folder, "net.csv", f"{NETWORK}\nc1,conv,16,32,32,32,3,3,1,1\n")
    text = f"models: [{table}]\naxes: {{clock_mhz: [100, 200]}}\nmachines: {{s: {{base: spatial-16x16}}}}\n"
    run_sweep(file(folder, "sweep.yaml", text), folder / "out", workers=1)
    return folder / "out"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(("axes: {rows: [2]}\n", "", ""), "'axes' is there twice", id="key-twice"),
        pytest.param(("report: {heat_map: [rows, rows]}\n", "", ""), "heat_map", id="heat-map-of-one"),
        pytest.param(("report: {objectives: []}\n", "", ""), "objectives", id="no-objective"),
        pytest.param(("report: {objectives: [cycles, -cycles]}\n", "", ""), "objectives", id="one-objective-twice"),
        pytest.param(("", "rows: [4, 8]", "rows: [4, .nan]"), "axes.rows: nan", id="nan"),
        pytest.param(("", "rows: [4, 8]", "rows: [4, .inf]"), "axes.rows: inf", id="infinity"),
        pytest.param(
            ("derived: {d: \"'a'*999999999\"}\n", "cols: cols}", "cols: cols, buffers.input_kb: d}"),
            "numbers",
            id="text-times-number",
        ),
        pytest.param(
            ("derived: {d: \"'%1000000000d' % 5\"}\n", "cols: cols}", "cols: cols, buffers.input_kb: d}"),
            "numbers",
            id="text-format",
        ),
        pytest.param(
            ('derived: {d: "round(5, -999999999)"}\n', "cols: cols}", "cols: cols, buffers.input_kb: d}"),
            "round",
            id="round-to-nothing",
        ),
        pytest.param(
            ("derived: {d: 9**60*9**60}\n", "cols: cols}", "cols: cols, buffers.input_kb: d}"), "beyond", id="huge"
        ),
    ],
)
def test_sweeps_that_cannot_be_meant_are_refused_before_the_first_point(tmp_path, sweep_file, change, words):
    begin = time.process_time()
    assert words in one_line(*run("sweep", sweep_file(*change), "-o", tmp_path / "out"))
    assert time.process_time() - begin < 5
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scheduler", ["nonsense", "tcp://127.0.0.1:1", "tcp://nowhere.invalid:8786"])
def test_a_wrong_scheduler_is_said_at_once(tmp_path, sweep_file, scheduler):
    begin = time.monotonic()
    assert scheduler in one_line(*run("sweep", sweep_file(), "-o", tmp_path / "out", "--scheduler", scheduler))
    assert time.monotonic() - begin < 10


def test_unlimited_memory_beside_real_is_reported(tmp_path, sweep_file, undrawn):
    path = sweep_file(
        "  bound: {base: spatial-16x16, set: {pe_array.rows: rows, pe_array.cols: cols, dram.type: ideal}}\n"
    )
    status, out, err = run("sweep", path, "-o", tmp_path / "out", "--workers", 1, "--json")
    assert status == 0, err
    assert json.loads(out)["counts"]["done"] == 8
    assert "inf" in (tmp_path / "out" / "points.csv").read_text()
    assert run("report", tmp_path / "out")[0] == 0


def test_an_interrupted_sweep_is_reported_with_how_much_is_there(tmp_path, sweep_file, undrawn):
    import sqlite3

    assert run("sweep", sweep_file(), "-o", tmp_path / "out", "--workers", 1)[0] == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "out" / "results.sqlite")) as db:  # as if it had been killed
        db.execute("DELETE FROM results WHERE key = (SELECT min(key) FROM results)")
        db.commit()
    status, _, err = run("report", tmp_path / "out")
    assert (status, "3 of 4 points have a result" in err) == (0, True)


def test_a_flipped_bit_in_a_stored_row_is_found_and_computed_again(tmp_path, sweep_file, undrawn):
    path, folder = sweep_file(), tmp_path / "out"
    assert run("sweep", path, "-o", folder, "--workers", 1)[0] == 0
    good = (folder / "points.csv").read_bytes()
    store = folder / "results.sqlite"
    content = bytearray(store.read_bytes())
    place = content.index(b'"cycles":') + len(b'"cycles":')
    content[place] ^= 1  # another digit
    store.write_bytes(content)
    status, _, err = run("sweep", path, "-o", folder, "--workers", 1)
    assert status == 0
    assert "1 stored rows do not fit their checksum" in err
    assert (folder / "points.csv").read_bytes() == good


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("total", '{"cycles": NaN, "energy_pj": 1, "latency_ms": 1}', "a result without cycles, energy_pj, latency_ms"),
        ("total", '{"cycles": -1, "energy_pj": 1, "latency_ms": 1}', "a result without cycles, energy_pj, latency_ms"),
        ("total", "[]", "a result that is no record"),
        ("total", "{", "expected the results of a sweep"),
        ("layers", '{"name": ["a"], "cycles": [1, 2]}', "layers: "),
        ("layers", "[1, 2]", "a result that is no record"),
    ],
)
def test_stored_rows_with_a_checksum_of_their_own_are_read_as_carefully(tmp_path, swept, column, text, words):
    import sqlite3

    folder = shutil.copytree(swept, tmp_path / "out")
    with contextlib.closing(sqlite3.connect(folder / "results.sqlite")) as db:
        db.execute(f"UPDATE results SET {column} = ?", (text,))
        for row in db.execute("SELECT * FROM results").fetchall():
            db.execute("UPDATE results SET checksum = ? WHERE key = ?", (checksum(*row[:-1]), row[0]))
        db.commit()
    assert words in one_line(*run("report", folder))


def test_a_page_is_of_the_sweep_file_that_the_points_are_of(tmp_path, swept, undrawn):
    """Its commands name machines and keys of the file; of what is asked of the points another page may be drawn."""
    folder = shutil.copytree(swept, tmp_path / "out")
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text + "report: {objectives: [cycles]}\n")
    assert run("report", folder)[0] == 0
    assert "100" in text
    (folder / "sweep.yaml").write_text(text.replace("100", "101", 1))
    assert "sweep.yaml: another sweep than that of the points" in one_line(*run("report", folder))


# --- compression


CHECKPOINTS = sorted(path.name for path in (ROOT / "models" / "checkpoints").iterdir())


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if "dense" in name])
def test_a_dense_checkpoint_is_not_made_sparse_by_a_guess(tmp_path, name):
    message = one_line(*run("compress", ROOT / "models" / "checkpoints" / name, "-o", tmp_path / "x.dual"))
    assert "states no sparsity_sd, expected a recipe with the key spatial" in message
    assert not (tmp_path / "x.dual").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if "dense" not in name])
def test_compress_without_a_recipe_keeps_the_accuracy(tmp_path, monkeypatch, name):
    """Of the 600 sample images the file answers as many rightly as the checkpoint, but for two points."""
    monkeypatch.delenv("ACCELSIM_DATA", raising=False)
    out = tmp_path / "x.dual"
    status, _, err = run("compress", ROOT / "models" / "checkpoints" / name, "-o", out)
    assert status == 0
    assert "relative error of the weights" in err
    assert "warning" not in err
    images = ROOT / "models" / "cifar10-sample.npz"
    status, said, _ = run("validate", out, "spatial-16x16", "winograd-16x16", "--images", images, "--json", "--float")
    assert status == 0
    assert all(machine["top1"] > 87 for machine in json.loads(said)["machines"])


def test_a_cell_of_weights_that_are_not_there_is_refused(tmp_path):
    recipe = file(tmp_path, "r.yaml", "cells: {layer1.0.conv7.weight: 0.1}\n")
    checkpoint = ROOT / "models" / "checkpoints" / "resnet20-joint"
    message = one_line(*run("compress", checkpoint, "-o", tmp_path / "m.dual", "--recipe", recipe))
    assert "key cells: no weights 'layer1.0.conv7.weight', did you mean 'layer1.0.conv" in message


@pytest.mark.parametrize("key", ["momentum", "warmup"])
def test_shares_that_leave_nothing_are_refused(tmp_path, key):
    # Adam divides by 1 - momentum, the schedule by 1 - warmup.
    recipe = file(
        tmp_path,
        "r.yaml",
        f"network: resnet20-cifar10\ndata: {{kind: npz, path: ./x.npz}}\nepochs: 1\noptimizer: {{{key}: 1.0}}\n",
    )
    message = one_line(*run("train", recipe, "-o", tmp_path / "out"))
    assert f"optimizer.{key}: input should be less than 1, got 1.0" in message


def test_weights_of_another_run_than_their_card_are_refused(tmp_path):
    source = ROOT / "models" / "checkpoints" / "resnet20-joint"
    content = bytearray((source / "checkpoint.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    (tmp_path / "checkpoint.json").write_bytes((source / "checkpoint.json").read_bytes())
    assert "sha256" in one_line(*run("compress", tmp_path, "-o", tmp_path / "x.dual"))


def test_a_state_of_nan_is_not_resumed(tmp_path):
    save_state(tmp_path, {"values": np.array([1, np.nan], np.float32)}, {"step": 1})
    with pytest.raises(accelsim.InputError, match="'values' holds NaN or infinity"):
        load_state(tmp_path)


@pytest.mark.parametrize("notes", ["[1, 2]", "7", "null", "{", 100_000 * "["])
def test_a_state_whose_notes_are_no_record_is_not_resumed(tmp_path, notes):
    (tmp_path / STATE).write_bytes(save({"values": np.ones(2, np.float32)}, {"state": notes}))
    with pytest.raises(accelsim.InputError, match="the state of a") as error:
        load_state(tmp_path)
    assert "\n" not in str(error.value)


def test_cells_are_those_of_the_weights_that_the_card_is_about(tmp_path):
    arrays = {"a.weight": np.ones(2, np.float32)}
    save_model(tmp_path, arrays, {"relative_cells": {"a.weight": 0.25}})
    weights = tmp_path / MODEL
    assert cells_beside(weights) == {"a.weight": 0.25}
    weights.write_bytes(save({"a.weight": np.zeros(2, np.float32)}))
    with pytest.raises(accelsim.InputError, match=r"not the weights that .*json is about"):
        cells_beside(weights)
