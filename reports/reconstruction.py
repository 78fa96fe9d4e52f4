"""The tables of ``joint-sparsity.md`` on networks made jointly sparse without, or almost without, training.

    accelsim train recipes/RUN.yaml -o runs/RUN                               for each run of the tables
    python reports/reconstruction.py runs/ct-srcnn9-x3-dense runs/resnet18-joint-held ...    takes over their figures

The figures are those of each run's ``checkpoint.json``; of a classifier's dense network, which no run trains, accuracy
is measured here, on the same images, and kept in ``reconstruction.json`` with the rest.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph
from accelsim.training.datasets import load_split, resolve
from accelsim.training.evaluate import top1
from accelsim.training.recipe import Recipe

DENSE = {
    "resnet18-folded": "weights/resnet18_imagenet_fp16.safetensors",
    "squeezenet11": "weights/squeezenet11_imagenet_fp16.safetensors",
}
STORED = Path(__file__).with_name("reconstruction.json")
KEYS = ("unpruned", "spatial", "winograd")


def dense_top1(recipe: Recipe, images: int) -> float:
    """Percent right of the dense network, on the first test images."""
    graph = named_graph(recipe.network)
    network = load_network(graph, resolve(DENSE[recipe.network]))
    size, classes = graph.input_shape[:2], graph.shapes[graph.nodes[-1].name][-1]
    return top1(graph, network.arrays, load_split(recipe.data, "test", size, classes).first(images), batch=50)


def take_over(run: Path) -> dict[str, Any]:
    """A run's figures."""
    card = json.loads((run / "checkpoint.json").read_text(encoding="utf-8"))
    kept = {key: card[key] for key in ("network", "images", "epochs", "hours", "accuracy", "psnr") if key in card}
    kept |= {key: card[key] for key in ("sparsity_sd", "sparsity_wd") if key in card}
    if "accuracy" in card:
        kept["accuracy"]["dense"] = dense_top1(Recipe.model_validate(card["recipe"]), card["images"])
    return kept


def standard_error(percent: float, images: int) -> float:
    """Of a share of so many images, in percent."""
    p = percent / 100
    return 100 * float(np.sqrt(p * (1 - p) / images))


def classifiers(runs: dict[str, Any]) -> str:
    """The table of top-1, with one standard error of the dense network's."""
    lines = [
        "| run | test images | s_SD | s_WD | dense | pruned, spatial | pruned, Winograd |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        if "accuracy" in run:
            dense = run["accuracy"]["dense"]
            error = standard_error(dense, run["images"])
            figures = " | ".join(f"{run['accuracy'][key]:.2f}" for key in ("spatial", "winograd"))
            lines.append(
                f"| {name}, {run['epochs']:g} epochs | {run['images']} | {100 * run['sparsity_sd']:g} % "
                f"| {100 * run['sparsity_wd']:g} % | {dense:.2f} +- {error:.2f} | {figures} |"
            )
    return "\n".join(lines) + "\n"


def super_resolvers(runs: dict[str, Any]) -> str:
    """The table of PSNR in dB, Set5 / Set14."""
    lines = [
        "| run | s_SD | s_WD | bicubic | as trained | pruned, spatial | pruned, Winograd |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        if "psnr" in run:
            figures = run["psnr"]
            cells = [
                " / ".join(f"{figures[key][test]:.2f}" for test in ("set5", "set14")) if key in figures else ""
                for key in ("bicubic", *KEYS)
            ]
            targets = [f"{100 * run[key]:g} %" if key in run else "" for key in ("sparsity_sd", "sparsity_wd")]
            lines.append(f"| {name}, {run['epochs']:g} epochs | {' | '.join([*targets, *cells])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Take over what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    figures: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    for run in parser.parse_args().runs:
        figures[run.name] = take_over(run)
    STORED.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
