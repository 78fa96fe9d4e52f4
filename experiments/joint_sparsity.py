"""Write reports/joint-sparsity.md from the checkpoints of ResNet-20 and the figures of the other reports.

    python -m experiments.joint_sparsity
    python -m experiments.joint_sparsity --log runs/resnet20-joint             the plot of its log, too

Nothing is measured here: the runs' accuracies are those of their ``checkpoint.json`` below models/checkpoints, the
others those of the shipped files and of reports/ablation.json (``python -m experiments.ablation``),
reports/reconstruction.json (``python -m experiments.reconstruction``) and reports/compression.json.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments import ablation, compression, reconstruction
from experiments.ablation import KEYS, table
from experiments.paths import MODELS, REPORTS
from experiments.reconstruction import SEEN, classifiers, standard_error, super_resolvers

REPORT = REPORTS / "joint-sparsity.md"
RUNS = (
    "resnet20-joint",
    "resnet20-joint-refined",
    "resnet20-joint-winograd",
    "resnet20-joint-even",
    "resnet20-joint-moving",
    "resnet20-dense",
    "resnet20-dense-refined",
)

TEXT = """\
# Joint sparsity

Written by `python -m experiments.joint_sparsity`. One set of weights, trained by the NumPy backend and then pruned in
the spatial domain (all conv and fully-connected weights, one threshold) or in the Winograd domain (convolutions of
stride 1 but the 1 x 1, one threshold). Nothing is retrained after the pruning.

## ResNet-20, CIFAR-10: both domains at once

Top-1 in percent on all 10,000 test images.

| weights | epochs | hours | s_SD | s_WD | as trained | pruned, spatial | pruned, F(2, 3) | below dense |
|---|---|---|---|---|---|---|---|---|
| dense, imported | 0 | | | | {dense:.2f} | | | |
{runs}

The imported dense network is the teacher and the start of `resnet20-joint`; `-refined` goes on from there, and so on:
`-winograd` and `-even` have fewer spatial zeros and more in the Winograd domain. Once the recipe's moment has come the
spatial zeros are exact, so "as trained" and "pruned, spatial" are the same network; by the end the small
Winograd-domain weights are next to zero, too (thresholds {thetas}). `-moving` has no
regularizer: its zeros are exact in both domains at every step, and their places are chosen anew (recipe key
`joint.moving`). The bar is 1.0 point below the dense network in both domains, the last column's larger loss. One core
of a busy machine; `resnet20-joint` was resumed once with faster kernels, whose sums round differently.
`resnet20-dense` starts from random weights, `resnet20-dense-refined` from where it ends (published for ResNet-20:
91.25).
Commands: `accelsim train recipes/RUN.yaml -o runs/RUN` for each run in turn. Their checkpoints are in
`models/checkpoints`; the shipped `models/resnet20-cifar10.dual` is made from `resnet20-joint-refined`,
`models/resnet20-cifar10-winograd.dual` from `resnet20-joint-even`.

![What is left of the small weights](joint-sparsity.png)

{files}## ResNet-20: ablation by domain

The same sparsity in both domains, one epoch from the imported network with the same settings but for the mode
(`recipes/ablation/`). Trained for one domain the weights collapse in the other; trained for both they hold in both.
What was trained for F(2, 3) does not carry over to the larger tiles of F(4, 3).

{ablation}
![Accuracy by domain](ablation-resnet20.png)

Commands: `for r in recipes/ablation/*.yaml; do accelsim train $r -o runs/ablation/$(basename $r .yaml); done`, then
`python -m experiments.ablation runs/ablation`.

{resnet18}## From a few hundred images: layer-wise reconstruction

A trained network becomes sparse in both domains layer by layer, from a few hundred images and without their labels
(`accelsim/sparsity/reconstruction.py`, recipe key `reconstruction`); its spatial zeros are exact, so "as trained" and
"pruned, spatial" are the same network. Sparsities are over all layers together; LAMP scores share them out among the
layers. Each command is `accelsim train recipes/RUN.yaml -o runs/RUN`, RUN as in the table (first the run it starts
from), then `python -m experiments.reconstruction runs/RUN`.

### Super-resolution x3: PSNR in dB on Set5 / Set14 (Y, border of 3 pixels left out)

{super_resolvers}
Published: bicubic 30.39 / 27.55, SRCNN trained on the same 91 images 32.39 / 29.00. The first and the last layer stay
out of the Winograd domain; which, and the settings of the reconstruction, were chosen by PSNR on training patches.
`ct-srcnn9-x3-held` goes on from the reconstruction with the zeros of both domains held, for twice as many passes over
the images as the dense network had.

### ImageNet classifiers: top-1 in percent

{classifiers}
Trained on nothing but calibration images, measured on those held apart, beside one standard error. These are easier
than the whole validation set: compare within a row. `resnet18-joint-distilled` starts from the ablation's joint
weights, whose zeros it makes exact in both domains and holds (recipe key `joint.hold`); the layers from `layer3.1` on,
86 % of the weights (`train_from`), follow the dense network's scores and its last feature map (`teacher.hint`) on the
1,600 calibration images and their mirror images, without their labels; `-400` on the first 400.
`squeezenet11-joint` adds one pass of distillation over the same images to the reconstruction from 256. The runs to a
budget are not trained: each layer has the zeros that its price gives it, exact in both domains.

{distance}"""

RESNET18 = """\
## ResNet-18, ImageNet images: ablation by domain

Layer-wise reconstruction (below) from 256 calibration images, no training; top-1 on the first {images} held-apart
images, where one standard error of the dense network is {error:.1f} points.

{ablation}
Weights made sparse in the spatial domain alone collapse in the Winograd domain, and the other way round. Those for the
Winograd domain alone suffer even there, and the joint ones lose some points: batch-norm is folded into the weights, so
layers differ in scale, and the one threshold prunes small-scale layers bare. With the zeros made exact, layer by layer,
no threshold is needed, and what holds in one domain holds in the other (`resnet18-joint-distilled` below).

![Accuracy by domain](ablation-resnet18.png)

Commands: `for r in recipes/ablation-resnet18/*.yaml; do accelsim train $r -o runs/ablation-resnet18/$(basename $r
.yaml); done`, then `python -m experiments.ablation runs/ablation-resnet18 --network resnet18`.

"""


FILES = """\
### How small within which loss

One standard error of these shares is {error:.2f} points; {dense:.2f} is the dense network's. `resnet20-moving` and
`resnet20-moving-40` are one checkpoint, `resnet20-joint-moving`, in finer and coarser cells: neither 30x within half a
point nor 40x within one is reached. Nearly half of the loss at 31x is of rounding, and so is all that 40x adds: that
would need more zeros in training, which leave more bits to each weight.

| file | ratio | fewer multiplies | spatial | Winograd | below dense |
|---|---|---|---|---|---|
{rows}

"""
SMALL = "resnet20-"  # what the names of its files start with

DISTILLED = "resnet18-joint-distilled"
TRAINED = "1,600"  # calibration images of that run
LABELLED = "resnet18-joint-labelled"
BUDGET = "resnet18-joint-budget"  # the run, and its file in the report on compression
BUDGET_FILE = "resnet18-budget"
DISTANCE = """\
### ResNet-18: how far from the paper, and why

The paper has 24.2x and 4.5x fewer multiplies and loses 0.8 points, trained for 500,000 steps of 128 of ImageNet's 1.28
million images. Here, from 1,600 images, top-1 on the {images} held-apart ones, of which one standard error of the dense
network is {error:.1f} points:

| network | ratio | fewer multiplies | spatial | Winograd | below dense |
|---|---|---|---|---|---|
{rows}

LAMP at 80 % gives layer4, seven in ten of the weights, nine zeros in ten, whose last ones save hardly a multiply, while
conv1 and layer1 spend half of all. A budget asks for bytes and multiplies, not for a count of zeros (recipe key
`reconstruction.budget`): what each layer's zeros and cells cost the network's output is measured on 96 images kept
apart, and both are shared out by that price (`accelsim/training/prices.py`).

What is lost by price is lost in rounding, for which pictures matter more than anything: they say which errors a layer's
output does not show. The first file by price, rounded by 512 images in cells reckoned from the Cholesky factors of the
moments, had 74.00 % at 25.26x and 4.51x (KL to the dense network .152). Today's prices really round some filters of
each layer in each cell and measure what that adds to its output on images kept apart, and 1,500 images round, with a
small price on bits: KL .1105 +- .0045, the dense network's answer for 88.3 % of the images, of the difference in top-1
one standard error is 0.9 points.

Training the last layers, 76 % of the weights, once the others are rounded (recipe keys `head` and `rounded`; four
passes of distillation over 1,504 images) was tried on this file and on one reconstructed from 1,024 images. That one
had 76.00 (KL .1176) before and 76.67 or 75.56 after, in .84 or .89 times the cells (KL .1022, .1063); this one 76.11
before and 75.11 after, in .89 times. The divergence falls a little, top-1 moves by chance, as far as the next file of
the same quality; so the file is the one that is not trained.

What training brings, from the run by LAMP. Rounded so that each weight makes up in its layer's output for those before
it (`fit` of the compression recipe), its cells cost nothing that {images} images show. On {count} of the calibration
images themselves the dense network has {seen_dense:.2f}, the distilled one {seen:.2f}: {seen_gap:.2f} points below,
which the zeros and {epochs:g} passes over the last layers leave. The other {unseen_gap:.2f} of the {sparse:.2f} points
are lost on images that were held apart only: as much as more images could mend. With labels, but without hint and
mirror images (`resnet18-joint-labelled`): {labelled_seen:.2f} and, held apart, {labelled:.2f}: it learns the images by
heart and knows others as well, within one standard error of {error:.1f}.
How far images carry, in as many steps each:

| calibration images | spatial | Winograd |
|---|---|---|
{carry}

"""


def loss_row(name: str, accuracy: dict[str, float], dense: float, model: dict[str, Any] | None = None) -> str:
    """One network's top-1 in either domain and what it lost; of a file, its ratio and cost reduction, too."""
    top1 = [accuracy["spatial"], accuracy["winograd"]]
    cells = [name, "", ""]
    if model is not None:
        operations = model["operations"]
        ratio = 4 * model["parameters"] / model["file_bytes"]
        cells[1:] = [f"{ratio:.2f}x", f"{operations['dense'] / operations['winograd']:.2f}x"]
    cells += [f"{value:.2f}" for value in (*top1, dense - min(top1))]
    return f"| {' | '.join(cells)} |"


def loss_rows(others: dict[str, Any], models: dict[str, Any]) -> str:
    """ResNet-18 dense, by LAMP and, once measured, by price, each before and after quantization."""
    dense = others[DISTILLED]["accuracy"]["dense"]
    rows = [f"| dense | | | {dense:.2f} | | |"]
    kinds = {
        "resnet18": (DISTILLED, "by LAMP, distilled", "by LAMP, distilled"),
        BUDGET_FILE: (BUDGET, "by price, not trained", "by price, not trained"),
    }
    for file, (run, how, in_the_file) in kinds.items():
        if run in others:
            own = others[run]
            zeros = " / ".join(f"{100 * own[key]:.0f} %" for key in ("sparsity_sd", "sparsity_wd"))
            rows.append(loss_row(f"{zeros} zeros {how} (`{run}`)", own["accuracy"], dense))
        if file in models:
            model = models[file]
            in_file = {domain: model["accuracy"][f"top1_{domain}"] for domain in ("spatial", "winograd")}
            rows.append(loss_row(f"a file, zeros {in_the_file} (`{file}`)", in_file, dense, model))
    return "\n".join(rows)


def small_files(models: dict[str, Any]) -> str:
    """The section on ResNet-20's files, smallest last; models: those that ship and the others, by name."""
    own = [(name, model) for name, model in models.items() if name.startswith(SMALL)]
    rows = []
    for name, model in sorted(own, key=lambda item: -item[1]["file_bytes"]):
        in_file = {domain: model["accuracy"][f"top1_{domain}"] for domain in ("spatial", "winograd")}
        dense = model["accuracy"]["top1_reference"]
        rows.append(loss_row(f"`{name}`", in_file, dense, model))
    return FILES.format(rows="\n".join(rows), dense=dense, error=standard_error(dense, 10_000))


def distance(others: dict[str, Any], models: dict[str, Any]) -> str:
    """The section on where ResNet-18 loses, from the figures of the runs and of their files."""
    run = others[DISTILLED]
    fewer = {name.removeprefix(f"{DISTILLED}-"): other for name, other in others.items() if name.startswith(DISTILLED)}
    carry = [
        f"| {TRAINED if name == DISTILLED else name} | {other['accuracy']['spatial']:.2f} "
        f"| {other['accuracy']['winograd']:.2f} |"
        for name, other in sorted(fewer.items(), key=lambda item: (item[0] == DISTILLED, item[0]))
    ]
    accuracy = run["accuracy"]
    seen = run["seen"]
    worst = min(accuracy["spatial"], accuracy["winograd"])
    sparse = accuracy["dense"] - worst
    seen_gap = seen["dense"] - seen["spatial"]
    return DISTANCE.format(
        images=run["images"],
        epochs=run["epochs"],
        sparse=sparse,
        rows=loss_rows(others, models),
        count=SEEN,
        seen_dense=seen["dense"],
        seen=seen["spatial"],
        seen_gap=seen_gap,
        unseen_gap=sparse - seen_gap,
        labelled=others[LABELLED]["accuracy"]["spatial"],
        labelled_seen=others[LABELLED]["seen"]["spatial"],
        error=standard_error(worst, run["images"]),
        carry="\n".join(carry),
    )


def text(
    cards: dict[str, dict[str, Any]],
    ablations: dict[str, list[dict[str, Any]]],
    others: dict[str, Any],
    models: dict[str, Any],
) -> str:
    """The page, from the runs' cards by name, the rows of the ablations, the figures of the other runs and of files."""
    rows = ablations["resnet20"]
    dense = next(row["unpruned"] for row in rows if row["mode"] == "dense")
    return TEXT.format(
        dense=dense,
        runs="\n".join(run_row(name, card, dense) for name, card in cards.items()),
        thetas=", ".join(f"{card['theta_wd']:.1e}" for card in cards.values() if pulled(card)),
        files=small_files(models),
        ablation=table(rows),
        resnet18=resnet18(ablations["resnet18"]) if "resnet18" in ablations else "",
        super_resolvers=super_resolvers(others),
        classifiers=classifiers(others),
        distance=distance(others, models),
    )


def pulled(card: dict[str, Any]) -> bool:
    """Whether a regularizer made the zeros of a finished run."""
    joint = card["recipe"]["joint"]
    return joint is not None and joint.get("moving") is None


def run_row(name: str, card: dict[str, Any], dense: float) -> str:
    """The row of one finished run; a dense one has no sparsities and is not pruned."""
    if "spatial" not in card["accuracy"]:
        cells = [f"{name}, from scratch", f"{card['epochs']:g}", f"{card['hours']:.2f}", "", ""]
        return f"| {' | '.join([*cells, format(card['accuracy']['unpruned'], '.2f'), '', '', ''])} |"
    accuracy = [card["accuracy"][key] for key in KEYS[:3]]
    cells = [name, f"{card['epochs']:g}", f"{card['hours']:.2f}"]
    cells += [f"{100 * card[key]:.3g} %" for key in ("sparsity_sd", "sparsity_wd")]
    cells += [f"{value:.2f}" for value in (*accuracy, dense - min(accuracy[1:]))]
    return f"| {' | '.join(cells)} |"


def resnet18(rows: list[dict[str, Any]]) -> str:
    """The section on ResNet-18's ablation."""
    images = rows[0]["images"]
    dense = rows[0]["unpruned"]
    return RESNET18.format(images=images, error=standard_error(dense, images), ablation=table(rows))


def plot(run: Path, path: Path) -> None:
    """Draw R_SD and R_WD over the steps of a run."""
    figure, axes = plt.subplots(figsize=(7, 3))
    with (run / "log.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for key, colour in (("R_sd", "tab:blue"), ("R_wd", "tab:orange")):
        points = [(int(row["step"]), float(row[key])) for row in rows if row[key]]
        axes.semilogy(*zip(*points, strict=True), color=colour, label=f"${key[0]}_{{{key[2:].upper()}}}$")
    axes.set(xlabel="step", ylabel="mean square of the small weights")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def page() -> str:
    """The report, of all that is stored."""
    checkpoints = {name: MODELS / "checkpoints" / name / "checkpoint.json" for name in RUNS}
    models = {path.stem: compression.figures(path) for path in sorted(MODELS.glob(f"{SMALL}*.dual"))}
    return text(
        {name: _stored(path) for name, path in checkpoints.items()},
        _stored(ablation.STORED),
        _stored(reconstruction.STORED),
        models | _stored(compression.STORED)["built"],
    )


def _stored(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def main() -> None:
    """Write reports/joint-sparsity.md and, of a log, the plot beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, metavar="RUN", help="a run whose log is drawn anew")
    arguments = parser.parse_args()
    REPORT.write_text(page(), encoding="utf-8")
    if arguments.log is not None:
        plot(arguments.log, REPORT.with_suffix(".png"))


if __name__ == "__main__":
    main()
