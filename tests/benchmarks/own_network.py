"""How long a network of one's own takes from file to file: VGG-16 imported, ResNet-18 and MobileNetV2 made sparse.

    python tests/benchmarks/own_network.py [--json] [--cases import|resnet18|mobilenet_v2 ...]

Each case is a command in a process of its own, on one thread; what counts are its CPU seconds and its largest memory.
``peer`` is what they are wanted to take on two cores: there is no tool beside which they could be measured.

Weights are random, and pictures smooth noise at 224 x 224: neither changes what is computed.  VGG-16 and ResNet-18 are
the zoo's, written as ONNX; MobileNetV2 is torchvision's by PyTorch's exporter (``pip install .[peers]``), its
normalisation by the statistics of the pictures.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where it is run by its path

PICTURES = 64
SPARSIFY = ("--ratio", "12", "--cost-reduction", "2.5")
WANTED = {  # seconds, megabytes
    "import": (10.0, 1536.0),
    "resnet18": (900.0, 4096.0),
    "mobilenet_v2": (300.0, 4096.0),
}


def write_zoo_network(name: str, path: Path) -> None:
    """A network of the zoo with random weights, as an ONNX file."""
    from accelsim.network import Network
    from accelsim.network.onnx import write_onnx
    from accelsim.network.zoo import named_graph
    from accelsim.training.first_weights import initial_arrays

    graph = named_graph(name)
    write_onnx(Network(graph, initial_arrays(graph, 0)), path)


def write_mobilenet(path: Path) -> None:
    """MobileNetV2 with random weights, as PyTorch's older exporter writes it."""
    from accelsim.compression.sparsify import smooth_noise
    from tests.peers.test_own_networks import peers

    torch, models = peers()
    torch.manual_seed(0)
    network = models.mobilenet_v2(weights=None)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the mean over all that passes
    pictures = torch.from_numpy(smooth_noise((224, 224, 3))[:16]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        network.train()(pictures)
    torch.onnx.export(network.eval(), (pictures[:1],), str(path), dynamo=False)


def write_pictures(folder: Path) -> None:
    """Smooth noise as PNG files."""
    from PIL import Image

    from accelsim.compression.sparsify import smooth_noise

    folder.mkdir()
    for i, pixels in enumerate(smooth_noise((224, 224, 3))[:PICTURES]):
        Image.fromarray(pixels).save(folder / f"{i:03}.png")


def command(case: str, folder: Path) -> list[str]:
    """The command of a case, its files written into the folder."""
    source = folder / f"{case}.onnx"
    if case == "import":
        write_zoo_network("vgg16", source)
        return ["import", str(source), "-o", str(folder / "vgg16.dual")]
    if case == "resnet18":
        write_zoo_network("resnet18", source)
    else:
        write_mobilenet(source)
    if not (folder / "pictures").exists():
        write_pictures(folder / "pictures")
    return [
        "sparsify",
        str(source),
        "--images",
        str(folder / "pictures"),
        *SPARSIFY,
        "-o",
        str(folder / f"{case}.dual"),
    ]


def measure(arguments: list[str]) -> tuple[float, float]:
    """CPU seconds and largest memory, MB, of a command of ours.

    The kernel's ``ru_maxrss`` would count what this process had when it started the other one; ``VmHWM`` does not.
    """
    script = (
        "import resource, sys; from accelsim.cli import main; rc = main(sys.argv[1:]); "
        "own = resource.getrusage(resource.RUSAGE_SELF); "
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')); "
        "sys.stderr.flush(); print('USED', own.ru_utime + own.ru_stime, int(peak) / 1024); sys.exit(rc)"
    )
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    _, seconds, megabytes = done.stdout.strip().splitlines()[-1].split()
    return float(seconds), float(megabytes)


def rows(cases: list[str]) -> list[dict[str, Any]]:
    """Two rows a case: time and memory."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            used = measure(command(case, Path(folder)))
            for ours, wanted, unit in zip(used, WANTED[case], ("CPU s", "MB"), strict=True):
                found.append(
                    {
                        "case": f"{case}, {unit}",
                        "ours": round(ours, 1),
                        "peer": wanted,
                        "peer_name": "wanted at most",
                        "unit": unit,
                        "ratio": round(ours / wanted, 3),
                    }
                )
    return found


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cases", nargs="+", choices=list(WANTED), default=list(WANTED))
    chosen = parser.parse_args()
    found = rows(chosen.cases)
    if chosen.json:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rows": found, "peak_rss_mb": round(peak, 1)}))
        return
    for row in found:
        print(f"{row['case']}: {row['ours']:g}, wanted at most {row['peer']:g}")


if __name__ == "__main__":
    main()
