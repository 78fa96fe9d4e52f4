"""The tables of reports/joint-sparsity.md on networks made jointly sparse with hardly any training, or none.

    accelsim train recipes/RUN.yaml -o runs/RUN             for each run of the tables
    python -m experiments.reconstruction runs/RUN ...       takes over their figures

The figures are those of each run's ``checkpoint.json``; of a classifier's dense network, which no run trains, accuracy
is measured here, on the same images, and kept in reports/reconstruction.json with the rest.  Rows of runs that are not
named stay, as long as their recipe does.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.network.graph import Graph, Network
from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph
from accelsim.training.datasets import Images, Source, load_split, resolve
from accelsim.training.evaluate import top1
from accelsim.training.recipe import Recipe
from experiments.paths import RECIPES, REPORTS

DENSE = {
    "resnet18-folded": "weights/resnet18_imagenet_fp16.safetensors",
    "squeezenet11": "weights/squeezenet11_imagenet_fp16.safetensors",
}
STORED = REPORTS / "reconstruction.json"
KEYS = ("unpruned", "spatial", "winograd")
BATCH = 50
SEEN = 300  # training images on which a distilled network is measured, too


def dense_network(recipe: Recipe) -> Network:
    """The dense network that the runs of a recipe's network are compared with."""
    return load_network(named_graph(recipe.network), resolve(DENSE[recipe.network]))


def split_of(recipe: Recipe, graph: Graph, split: str) -> Source:
    """The images of a run, ``train`` or ``test``."""
    return load_split(recipe.data, split, graph.input_shape, graph.shapes[graph.nodes[-1].name][-1])


def seen_top1(recipe: Recipe, networks: dict[str, Network]) -> dict[str, float]:
    """Percent right on some of the images that a run was trained on."""
    graph = next(iter(networks.values())).graph
    images = split_of(recipe, graph, "train")
    index = np.random.default_rng(0).permutation(len(images))[:SEEN]
    some = Images(images.take(index), images.labels[index])
    return {name: top1(graph, network.arrays, some, batch=BATCH) for name, network in networks.items()}


def take_over(run: Path) -> dict[str, Any]:
    """The figures of one finished run, with those of the dense network on the same images."""
    card = json.loads((run / "checkpoint.json").read_text(encoding="utf-8"))
    kept = {key: card[key] for key in ("network", "images", "epochs", "hours", "accuracy", "psnr") if key in card}
    kept |= {key: card[key] for key in ("sparsity_sd", "sparsity_wd") if key in card}
    if "accuracy" in card:
        recipe = Recipe.model_validate(card["recipe"])
        dense = dense_network(recipe)
        images = split_of(recipe, dense.graph, "test").first(card["images"])
        kept["accuracy"]["dense"] = top1(dense.graph, dense.arrays, images, batch=BATCH)
        if recipe.train_from is not None:
            found = load_network(dense.graph, run / "checkpoint.safetensors")
            kept["seen"] = seen_top1(recipe, {"dense": dense, "spatial": found})
    return kept


def standard_error(percent: float, images: int) -> float:
    """Standard error of a share of so many images; both in percent."""
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
                f"| {name}, {run['epochs']:g} epochs | {run['images']} | {100 * run['sparsity_sd']:.3g} % "
                f"| {100 * run['sparsity_wd']:.3g} % | {dense:.2f} +- {error:.2f} | {figures} |"
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
    """Take over the figures of the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    taken = {run.name: take_over(run) for run in parser.parse_args().runs}
    stored: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    figures = {name: run for name, run in (stored | taken).items() if (RECIPES / f"{name}.yaml").exists()}
    STORED.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
