"""The ablation of reports/joint-sparsity.md: what weights trained for one domain, both or none keep in each domain.

    for r in recipes/ablation/*.yaml; do accelsim train $r -o runs/ablation/$(basename $r .yaml); done
    python -m experiments.ablation runs/ablation
    for r in recipes/ablation-resnet18/*.yaml; do accelsim train $r -o runs/ablation-resnet18/$(basename $r .yaml); done
    python -m experiments.ablation runs/ablation-resnet18 --network resnet18

writes the network's part of reports/ablation.json, and its plot.  A finished run's ``checkpoint.json`` holds its
accuracy as trained, pruned in the spatial domain and pruned in the F(2, 3) domain; here the same weights are pruned in
the F(4, 3) domain, too, and the dense network in all of them.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from accelsim.network.graph import Network
from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training.datasets import Source, load_split, resolve
from accelsim.training.evaluate import in_both_domains, top1
from accelsim.training.recipe import Data
from accelsim.training.winograd_op import winograd_operations
from experiments.paths import REPORTS

STORED = REPORTS / "ablation.json"


@dataclass(frozen=True)
class Study:
    """One network whose runs are compared."""

    network: str  # of the zoo, as in the runs' recipes
    weights: str  # of the dense network, below the data folder
    data: Data  # its test images are measured on


STUDIES = {
    "resnet20": Study("resnet20-cifar10", "weights/resnet20_cifar10.safetensors", Data(kind="cifar10", path="cifar10")),
    "resnet18": Study(
        "resnet18-folded",
        "weights/resnet18_imagenet_fp16.safetensors",
        Data(kind="archives", path="imagenet", limit=300),
    ),
}
MODES = {"dense": "dense, not regularized", "sd": "spatial only", "wd": "Winograd only", "joint": "joint"}
SPARSITIES = (70, 80, 90)  # percent; those whose three runs are finished are measured
KEYS = ("unpruned", "spatial", "winograd", "winograd_f4")
TITLES = ("as trained", "pruned, spatial", "pruned, F(2, 3)", "pruned, F(4, 3)")
BATCH = 50


def in_larger_tiles(network: Network, images: Source, sparsity: float) -> float:
    """Top-1 in percent, pruned to this sparsity in the F(4, 3) domain."""
    regularizer = JointRegularizer(network.graph, {"default": 4})
    theta = regularizer.thresholds(network.arrays, sparsity, sparsity)[1]
    filters = regularizer.pruned_winograd(network.arrays, theta)
    operations = winograd_operations(filters, regularizer.winograd)
    return top1(network.graph, network.arrays, images, operations=operations, batch=BATCH)


def dense_accuracy(network: Network, images: Source, sparsity: float) -> dict[str, float]:
    """Top-1 in percent of the network as it was imported, pruned to this sparsity in each domain."""
    regularizer = JointRegularizer(network.graph, {"default": 2})
    thresholds = regularizer.thresholds(network.arrays, sparsity, sparsity)
    return in_both_domains(network.graph, network.arrays, images, regularizer, thresholds, batch=BATCH)


def measure(name: str, runs: Path) -> list[dict[str, Any]]:
    """One row for each mode and sparsity: its accuracies by the names of ``KEYS``, in percent."""
    study = STUDIES[name]
    rows = []
    graph = named_graph(study.network)
    classes = graph.shapes[graph.nodes[-1].name][-1]
    images = load_split(study.data, "test", graph.input_shape, classes)
    for percent in SPARSITIES:
        if not all((runs / f"{name}-{mode}-{percent}" / "checkpoint.json").exists() for mode in list(MODES)[1:]):
            continue
        for mode in MODES:
            run = runs / f"{name}-{mode}-{percent}"
            network = load_network(graph, resolve(study.weights) if mode == "dense" else run / "checkpoint.safetensors")
            if mode == "dense":
                accuracy = dense_accuracy(network, images, percent / 100)
            else:
                card = json.loads((run / "checkpoint.json").read_text(encoding="utf-8"))
                if card["images"] != len(images.labels):
                    raise SystemExit(f"{run}: measured on {card['images']} images, expected {len(images.labels)}")
                accuracy = card["accuracy"]
            larger = {"winograd_f4": in_larger_tiles(network, images, percent / 100)}
            rows.append({"mode": mode, "percent": percent, "images": len(images), **accuracy, **larger})
            print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = [f"| weights | zeros | {' | '.join(TITLES)} |", "|---" * 6 + "|"]
    for row in rows:
        figures = " | ".join(f"{row[key]:.2f}" for key in KEYS)
        lines.append(f"| {MODES[row['mode']]} | {row['percent']} % | {figures} |")
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy over sparsity, a panel for each domain and a line for each mode."""
    figure, panels = plt.subplots(1, 3, figsize=(9, 3), sharey=True)
    for mode, name in MODES.items():
        own = [row for row in rows if row["mode"] == mode]
        for panel, key in zip(panels, KEYS[1:], strict=True):
            panel.plot([row["percent"] for row in own], [row[key] for row in own], marker="o", label=name)
    for panel, title in zip(panels, TITLES[1:], strict=True):
        panel.set(title=title, xlabel="zeros, %", xticks=SPARSITIES)
        panel.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel("top-1, %")
    panels[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    """Measure the runs; write reports/ablation.json and the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the folder of the finished runs")
    parser.add_argument("--network", choices=STUDIES, default="resnet20")
    arguments = parser.parse_args()
    measured = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    measured[arguments.network] = measure(arguments.network, arguments.runs)
    STORED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    for name, rows in measured.items():
        plot(rows, REPORTS / f"ablation-{name}.png")


if __name__ == "__main__":
    main()
