"""Write reports/compression.md and its plot from the shipped models and the figures in reports/compression.json.

    python -m experiments.compression                               tables and plot from what was measured
    python -m experiments.compression --curve FOLDER [--images N]   measure accuracy against ratio, or go on with it
    python -m experiments.compression --coding CODING.json          take over `tests/benchmarks/coding.py --json`
    python -m experiments.compression --built FILE.dual ...         take over models that are not shipped

Measuring needs the data folder named by ACCELSIM_DATA.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np

from accelsim.compression.accuracy import measure
from accelsim.compression.budget import multiplies_left
from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.quantize import compressed_network, quantize, spatial_threshold, winograd_threshold
from accelsim.compression.recipe import load_compression_recipe
from accelsim.compression.start import load_checkpoint
from accelsim.dual.deploy import density, spatial_densities, tile_sizes, winograd_model
from accelsim.dual.file import decode_dual, encode_dual, read_dual
from accelsim.dual.model import DualModel
from accelsim.network.count import dense_macs
from accelsim.network.layers import Conv
from accelsim.training.datasets import load_split
from accelsim.training.evaluate import top1
from accelsim.transforms.adders import tile_additions
from experiments.paths import MODELS, RECIPES, REPORTS

mpl.use("Agg")
import matplotlib.pyplot as plt

STORED = REPORTS / "compression.json"
CELLS = (0.02, 0.03, 0.04, 0.06, 0.09, 0.13)
KINDS = ("UQ", "DUQ", "fitted")
SHIPPED = load_compression_recipe(RECIPES / "resnet20-compress.yaml")

PAPER = """| ResNet-18, ImageNet, paper (arXiv:1902.08192) | 24.2 | 67.4 (68.2) | 67.4 | | 4.5x | |
| AlexNet, paper | 47.7 | | | | 5.1x | |
| CT-SRCNN, paper | 35.4 | | | | 23.5x | |"""


def operations(model: DualModel) -> dict[str, float]:
    """Operations of one image: dense MACs, effectual MACs in each domain, additions of the transforms.

    Zero inputs are not used.
    """
    graph = model.network.graph
    dense = dense_macs(graph)
    tiles = tile_sizes(model)
    spatial = spatial_densities(model)
    additions = 0
    for name, m in tiles.items():
        layer = graph.node(name).layer
        assert isinstance(layer, Conv)
        P, Q, K = graph.shapes[name]
        _, inputs, outputs = tile_additions(m, layer.kernel)
        additions += -(-P // m) * -(-Q // m) * (layer.in_channels * inputs + K * outputs)
    return {
        "dense": sum(dense.values()),
        "spatial": sum(macs * spatial[name] for name, macs in dense.items()),
        "winograd": multiplies_left(model),
        "transforms": additions,
    }


def figures(path: Path) -> dict[str, Any]:
    """What the tables say of one model."""
    model = read_dual(path)
    names = spatial_densities(model)
    weights = np.concatenate([model.network.arrays[f"{name}.weight"].ravel() for name in names])
    filters = np.concatenate([W.ravel() for W in winograd_model(model).values()])
    return {
        "parameters": model.parameters,
        "file_bytes": model.file_bytes,
        "accuracy": dict(model.accuracy),
        "operations": operations(model),
        "zeros_sd": 1 - density(weights),
        "zeros_wd": 1 - density(filters),
        "tiles": sorted(set(model.winograd_m.values())),
        "threshold": model.winograd_threshold,
    }


def quality(accuracy: dict[str, float], domain: str) -> str:
    """Accuracy in words: top-1 in percent, or PSNR in dB on Set5 / Set14."""
    if f"top1_{domain}" in accuracy:
        return f"{accuracy[f'top1_{domain}']:.2f}"
    return " / ".join(f"{accuracy[f'psnr_{name}_{domain}']:.2f}" for name in ("set5", "set14")) + " dB"


def table_of_models(models: dict[str, dict[str, Any]]) -> list[str]:
    """The table of all models, one row each, then the paper's rows."""
    lines = [
        "| network | ratio (whole file) | top-1 in SD, % (dense network) | top-1 in WD, % | effectual MACs SD / WD |"
        " cost reduction, paper's definition | with transforms' additions |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, model in models.items():
        ops = model["operations"]
        accuracy = model["accuracy"]
        lines.append(
            f"| {name} | {4 * model['parameters'] / model['file_bytes']:.2f} ({model['file_bytes']} bytes) "
            f"| {quality(accuracy, 'spatial')} ({quality(accuracy, 'reference')}) | {quality(accuracy, 'winograd')} "
            f"| {ops['spatial'] / 1e6:.2f} M / {ops['winograd'] / 1e6:.2f} M of {ops['dense'] / 1e6:.2f} M "
            f"| {ops['dense'] / ops['winograd']:.2f}x "
            f"| {ops['dense'] / (ops['winograd'] + ops['transforms']):.2f}x |"
        )
    return [*lines, *PAPER.splitlines()]


def densities(models: dict[str, dict[str, Any]]) -> list[str]:
    """The table of sparsities, each over all layers of a model together."""
    lines = ["| network | spatial sparsity | Winograd sparsity | threshold |", "|---|---|---|---|"]
    for name, model in models.items():
        lines.append(
            f"| {name} | {100 * model['zeros_sd']:.1f} % | {100 * model['zeros_wd']:.1f} % of "
            f"F({', '.join(map(str, model['tiles']))}, r) | {model['threshold']:.5f} |"
        )
    return lines


def curves(checkpoint: Path, images: int, measured: dict[str, Any]) -> None:
    """Measure accuracy against the ratio, by quantizer: rounded to nearest (UQ, DUQ), and as shipped (fitted).

    Each point is kept in ``measured`` and saved as soon as it is known; those that are there already stay.
    """
    network, notes = load_checkpoint(checkpoint, SHIPPED)
    assert SHIPPED.data is not None
    data = SHIPPED.data.model_copy(update={"test_limit": images})
    test = load_split(data, "test", network.graph.input_shape, 10)
    theta = spatial_threshold(network, notes["sparsity_sd"])
    of = {"images": len(test.labels), "checkpoint": notes["sha256"]}
    content = measured.get("curve", {})
    if any(content.get(key) != value for key, value in of.items()):
        content = of | {"sparsity_sd": notes["sparsity_sd"], "sparsity_wd": notes["sparsity_wd"], "points": []}
        measured["curve"] = content

    def rounded(cell: float, seed: int | None) -> DualModel:
        quantized = quantize(network, cell, theta, seed=seed)
        theta_wd = winograd_threshold(quantized.network, 2, notes["sparsity_wd"])
        compressed = compressed_network(quantized, winograd_threshold=theta_wd)
        return decode_dual(encode_dual(compressed), checkpoint.name)

    def fitted(cell: float) -> DualModel:
        recipe = SHIPPED.model_copy(update={"cell": cell, "data": data, "reference": None})
        with TemporaryDirectory() as folder:
            return compress_checkpoint(checkpoint, Path(folder) / "fitted.dual", recipe)

    makers: dict[str, Callable[[float], DualModel]] = {
        "UQ": lambda cell: rounded(cell, None),
        "DUQ": lambda cell: rounded(cell, 1),
        "fitted": fitted,
    }
    known = {(point["kind"], point["cell"]) for point in content["points"]}
    for kind, make in makers.items():
        for cell in CELLS:
            if (kind, cell) in known:
                continue
            model = make(cell)
            ratio = 4 * model.parameters / model.file_bytes
            accuracy = dict(model.accuracy) or measure(model, test, None, workers=1)
            content["points"].append({"kind": kind, "cell": cell, "ratio": ratio, **accuracy})
            content["points"].sort(key=lambda point: (KINDS.index(point["kind"]), point["cell"]))
            save(measured)
            print(f"{kind}, cell {cell}: {ratio:.2f}x, {accuracy}", flush=True)
    if "unpruned" not in content:
        same = notes["images"] == len(test.labels)  # as when it was trained
        content["unpruned"] = notes["accuracy"]["unpruned"] if same else top1(network.graph, network.arrays, test)


def knee(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The point of a curve that is farthest above the line between its ends, worse domain counted."""
    ratio = np.array([point["ratio"] for point in points])
    accuracy = np.array([min(point["top1_spatial"], point["top1_winograd"]) for point in points])
    line = np.interp(ratio, ratio[[0, -1]], accuracy[[0, -1]])
    return points[int((accuracy - line).argmax())]


def save(measured: dict[str, Any]) -> None:
    """Write what was measured to where the next run finds it."""
    STORED.write_text(json.dumps(measured, indent=1) + "\n")


def plot(content: dict[str, Any], path: Path) -> None:
    """Draw accuracy against ratio, the spatial domain broad, the Winograd domain dashed, and 1.0 point of loss."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for kind, marker, colour in zip(KINDS, "os^", ("#0072b2", "#e69f00", "#009e73"), strict=True):
        points = [point for point in content["points"] if point["kind"] == kind]
        ratios = [point["ratio"] for point in points]
        spatial, winograd = ([point[f"top1_{domain}"] for point in points] for domain in ("spatial", "winograd"))
        axes.plot(ratios, spatial, "-", color=colour, linewidth=5, alpha=0.35, label=f"{kind}, spatial domain")
        axes.plot(ratios, winograd, f"{marker}--", color=colour, label=f"{kind}, Winograd domain")
    bar = read_dual(MODELS / "resnet20-cifar10.dual").accuracy["top1_reference"] - 1.0
    axes.axhline(bar, color="#444444", linewidth=1, linestyle=":", label="dense network less 1.0 point")
    axes.set(xlabel="compression ratio (whole file)", ylabel=f"top-1, % ({content['images']:,} test images)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def models_section(built: dict[str, dict[str, Any]]) -> list[str]:
    """The shipped models and those that are not shipped, with the reading of their columns."""
    models = {path.stem: figures(path) for path in sorted(MODELS.glob("*.dual"), key=lambda path: path.stem)}
    models |= {f"{name}, not shipped": model for name, model in built.items()}
    return [
        "## Models",
        "",
        *table_of_models(models),
        "",
        "Ratio: 4 bytes x parameters of the original network / bytes of the file on disk, manifest and calibration",
        "included. MACs: zero activations not used; layers that Winograd cannot serve count their spatial MACs. Cost",
        "reduction by the paper's definition: dense MACs / effectual MACs in the Winograd domain; beside it with every",
        "addition of the input and inverse transforms counted as one MAC (narrow layers pay much). The network",
        "is the unmodified one. Paper's rows: ratio and cost reduction as published; its accuracies are reconstructed.",
        "Models that are not shipped are built by `recipes/NAME-compress.yaml`, whose head says on which images they",
        "are measured (ResNet-18 and SqueezeNet: 900 held apart, one standard error 1.4 to 1.7 points). `resnet18` is",
        "distilled on 1,600 calibration images with as many zeros in all as the paper has. `resnet18-budget` and",
        "SqueezeNet are reconstructed from 1,504 and 512 of these images to a budget of bytes and multiplies, and not",
        "trained (`joint-sparsity.md` says what either loses). The training images of CT-SRCNN have no known licence.",
        "",
        *densities(models),
        "",
    ]


def curve_section(content: dict[str, Any]) -> list[str]:
    """ResNet-20's accuracy against the ratio, by quantizer, and the knee of each curve."""
    points = content["points"]
    by_kind = {kind: [point for point in points if point["kind"] == kind] for kind in KINDS}
    knees = {kind: knee(own) for kind, own in by_kind.items() if len(own) > 2}
    at_knees = ", ".join(f"D = {point['cell']:g} for {kind} ({point['ratio']:.2f}x)" for kind, point in knees.items())
    return [
        "## ResNet-20: accuracy against ratio",
        "",
        "![curve](compression.png)",
        "",
        f"Checkpoint `{content['checkpoint'][:12]}`, sparsities {content['sparsity_sd']} (spatial) and "
        f"{content['sparsity_wd']} (Winograd), the first {content['images']:,}",
        f"test images, of which the checkpoint itself has {content['unpruned']:.2f} % right. UQ: uniform, each",
        "weight to its nearest point; DUQ: the same, dithered; fitted: uniform, each weight rounded to make up in",
        "its layer's output for those before it, the zeros of both domains kept, as in the shipped file",
        "(`recipes/resnet20-compress.yaml`, other cells).",
        "",
        "| quantizer | cell D | ratio | top-1 SD | top-1 WD |",
        "|---|---|---|---|---|",
        *(
            f"| {p['kind']} | {p['cell']} | {p['ratio']:.2f} | {p['top1_spatial']:.2f} | {p['top1_winograd']:.2f} |"
            for p in points
        ),
        "",
        f"The knee, the point farthest above the line between a curve's ends: {at_knees}.",
        "",
    ]


def coding_section(coding: dict[str, Any]) -> list[str]:
    """Bytes and seconds of lossless coders, as ``tests/benchmarks/coding.py`` measured them."""
    lines = [
        "## Lossless coding at equal quantized weights",
        "",
        f"Measured on {coding['machine']}.",
        "",
        "| case | peer | ours | peer's | ratio |",
        "|---|---|---|---|---|",
    ]
    for row in coding["rows"]:
        ours, theirs = (f"{row[key]:.2f} s" if row["unit"] == "s" else f"{row[key]} B" for key in ("ours", "peer"))
        lines.append(f"| {row['case']} | {row['peer_name']} | {ours} | {theirs} | {row['ratio']:.3f} |")
    return [*lines, ""]


def page(measured: dict[str, Any]) -> str:
    """The report: models, then the curve and the coders where they were measured."""
    lines = ["# Compression", "", "Written by `python -m experiments.compression`.", ""]
    lines += models_section(measured.get("built", {}))
    if "curve" in measured:
        lines += curve_section(measured["curve"])
    if "coding" in measured:
        lines += coding_section(measured["coding"])
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curve", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--coding", type=Path, metavar="CODING.json")
    parser.add_argument("--built", type=Path, nargs="+", default=[], metavar="FILE.dual")
    arguments = parser.parse_args()
    measured = json.loads(STORED.read_text()) if STORED.exists() else {}
    if arguments.curve is not None:
        curves(arguments.curve, arguments.images, measured)
    if arguments.coding is not None:
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}"
        measured["coding"] = {"machine": machine, "rows": json.loads(arguments.coding.read_text())["rows"]}
    measured["built"] = measured.get("built", {}) | {path.stem: figures(path) for path in arguments.built}
    save(measured)
    if "curve" in measured:
        plot(measured["curve"], REPORTS / "compression.png")
    (REPORTS / "compression.md").write_text(page(measured))


if __name__ == "__main__":
    main()
