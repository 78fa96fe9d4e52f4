"""Write ``joint-sparsity.md`` and its plot from a finished training run and the rows of the ablation.

    accelsim train recipes/resnet20-joint.yaml -o runs/resnet20-joint
    python reports/ablation.py runs/ablation      (see there)
    python reports/joint_sparsity.py runs/resnet20-joint

Nothing is measured here: the run's accuracies are those of its ``checkpoint.json``, the ablation's those of
``ablation.json``.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from ablation import HERE, KEYS, table

TEXT = """\
# Joint sparsity of ResNet-20 on CIFAR-10

Written by `python reports/joint_sparsity.py`. One set of weights, trained by the NumPy backend and then pruned in the
spatial domain (all conv and fully-connected weights, one threshold) or in the Winograd domain (the seventeen stride-1
3 x 3 convolutions, one threshold). Top-1 in percent on all 10,000 test images; nothing is retrained after the pruning.

## Both domains at once

| weights | epochs | s_SD | s_WD | as trained | pruned, spatial | pruned, F(2, 3) |
|---|---|---|---|---|---|---|
| dense, imported | 0 | | | {dense:.2f} | | |
| {name} | {epochs:g} | {s_sd:g} % | {s_wd:g} % | {unpruned:.2f} | {spatial:.2f} | {winograd:.2f} |

The dense network is the start and the teacher. After the first quarter the spatial zeros are exact, so "as trained" and
"pruned, spatial" are the same network; by the end the small Winograd-domain weights are zero, too (threshold
{theta_wd:.1e}). The bar is 1.0 point below the dense network in both domains; this run is {loss_sd:.2f} below it in the
spatial and {loss_wd:.2f} in the Winograd domain. {hours:.2f} hours on one core of a busy machine; it was resumed once
with faster kernels, whose sums round differently.
Command: `accelsim train recipes/resnet20-joint.yaml -o runs/resnet20-joint`. Its checkpoint is in
`models/checkpoints/resnet20-joint`; the shipped `models/resnet20-cifar10.dual` is still made from an earlier, shorter
training (`recipes/resnet20-joint-1.yaml`, `recipes/resnet20-joint-2.yaml`).

![What is left of the small weights](joint-sparsity.png)

## Ablation by domain

The same sparsity in both domains, one epoch from the imported network with the same settings but for the mode
(`recipes/ablation/`). Trained for one domain the weights collapse in the other; trained for both they hold in both.
What was trained for F(2, 3) does not carry over to the larger tiles of F(4, 3).

{ablation}
![Accuracy over sparsity](ablation.png)

Commands: `for r in recipes/ablation/*.yaml; do accelsim train $r -o runs/ablation/$(basename $r .yaml); done`, then
`python reports/ablation.py runs/ablation`.

## Left out

The time for training was short: training from scratch (`recipes/resnet20-dense.yaml` is ready){missing}. ResNet-18
and super-resolution: [reconstruction.md](reconstruction.md).
"""


def text(name: str, card: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The page, from the run's card and the ablation's rows."""
    dense = next(row["unpruned"] for row in rows if row["mode"] == "dense")
    accuracy, done = card["accuracy"], {row["percent"] for row in rows}
    missing = [f"{percent} %" for percent in (70, 80, 90) if percent not in done]
    return TEXT.format(
        dense=dense,
        name=name,
        epochs=card["epochs"],
        s_sd=100 * card["sparsity_sd"],
        s_wd=100 * card["sparsity_wd"],
        **{key: accuracy[key] for key in KEYS[:3]},
        theta_wd=card["theta_wd"],
        loss_sd=dense - accuracy["spatial"],
        loss_wd=dense - accuracy["winograd"],
        hours=card["hours"],
        ablation=table(rows),
        missing=f", and the ablation at {' and '.join(missing)} zeros" if missing else "",
    )


def plot(run: Path, path: Path) -> None:
    """R_SD and R_WD over the steps."""
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


def main() -> None:
    """Write both files beside this one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the finished run")
    run = parser.parse_args().run.resolve()
    card = json.loads((run / "checkpoint.json").read_text(encoding="utf-8"))
    rows = json.loads((HERE / "ablation.json").read_text(encoding="utf-8"))
    (HERE / "joint-sparsity.md").write_text(text(run.name, card, rows), encoding="utf-8")
    plot(run, HERE / "joint-sparsity.png")


if __name__ == "__main__":
    main()
