"""Bytes that lossless coders need for the same quantized weights, and how long the slowest decoding takes.

    python tests/benchmarks/coding.py [--json] [--nncodec PYTHON] [--only CASE]

Cases: the shipped ResNet-20 as it is; SqueezeNet 1.1 and ResNet-18 from the folder named by ACCELSIM_DATA, each layer
pruned at the 80th percentile of its magnitudes (theta) and quantized with D = 0.7 theta.  The same integers go to every
coder: bzip2, xz and zstd of one byte a weight (two where one does not hold them; bzip2 the better of one stream and one
a tensor), NNCodec, and the zero-order entropy as a bound for coders without context.  ``ratio`` = ours / peer.

PYTHON: an interpreter with ``nncodec`` installed (``pip install nncodec``; it needs NumPy 1.x, so an environment of
its own), by default the environment variable ACCELSIM_NNCODEC.  zstd needs the package ``zstandard``.
"""

import argparse
import bz2
import json
import lzma
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))  # where it is run by its path

from accelsim.dual.coding.context import decode_context, encode_context
from accelsim.dual.file import read_indices
from accelsim.network.weights import read_safetensors
from experiments.paths import MODELS

Levels = NDArray[np.int32]
SPARSITY, CELL = 0.8, 0.7


def cases(data: Path | None) -> dict[str, list[Levels]]:
    """Integer tensors by name of the case; those whose files are there."""
    found = {}
    model = MODELS / "resnet20-cifar10.dual"
    if model.exists():
        found["ResNet-20"] = list(read_indices(model).values())
    if data is not None:
        found["SqueezeNet 1.1"] = quantized(data / "weights" / "squeezenet11_imagenet_fp16.safetensors")
        found["ResNet-18"] = quantized(data / "weights" / "resnet18_imagenet_fp16.safetensors")
    return found


def quantized(path: Path) -> list[Levels]:
    """The file's weight tensors, each pruned and quantized by its own magnitudes."""
    tensors = []
    for _, weight in sorted(read_safetensors(path).items()):  # the order in the file's index is not fixed
        if weight.ndim in (2, 4):
            magnitude = np.abs(weight)
            theta = np.quantile(magnitude, SPARSITY)
            tensors.append(np.where(magnitude <= theta, 0, np.rint(weight / (CELL * theta))).astype(np.int32))
    return tensors


def entropy_bytes(tensors: list[Levels]) -> float:
    """Zero-order entropy of all weights together."""
    _, counts = np.unique(np.concatenate([tensor.ravel() for tensor in tensors]), return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


def raw(tensors: list[Levels]) -> list[bytes]:
    """One byte a weight, or two."""
    largest = max(int(np.abs(tensor).max()) for tensor in tensors)
    return [tensor.astype(np.int8 if largest < 128 else "<i2").tobytes() for tensor in tensors]


def peers(tensors: list[Levels], nncodec: str | None) -> dict[str, dict[str, float]]:
    """Bytes (and seconds) by peer."""
    pieces = raw(tensors)
    whole = b"".join(pieces)
    sizes: dict[str, dict[str, float]] = {
        "bz2": {"bytes": min(len(bz2.compress(whole)), sum(len(bz2.compress(piece)) for piece in pieces))},
        "xz": {"bytes": len(lzma.compress(whole, preset=9 | lzma.PRESET_EXTREME))},
        "zero-order entropy": {"bytes": entropy_bytes(tensors)},
    }
    try:
        import zstandard
    except ImportError:
        print("zstandard is not installed: no row for it", file=sys.stderr)
    else:
        sizes["zstd"] = {"bytes": len(zstandard.ZstdCompressor(level=22).compress(whole))}
    if nncodec:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tensors.npz"
            np.savez(file, *tensors)
            worker = Path(__file__).with_name("nncodec_worker.py")
            run = subprocess.run([nncodec, worker, file], capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"nncodec: {run.stderr.strip()[-200:]}", file=sys.stderr)
        else:
            sizes["NNCodec"] = json.loads(run.stdout)
    else:
        print("no --nncodec: no row for it", file=sys.stderr)
    return sizes


def measure(data: Path | None, nncodec: str | None, only: str) -> dict[str, Any]:
    """The object that --json prints.  only: part of the names of the cases to run."""
    rows = []
    for case, tensors in cases(data).items():
        if only not in case:
            continue
        content, _ = encode_context(tensors)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            decoded, _ = decode_context(content, [tensor.shape for tensor in tensors])
            seconds.append(time.perf_counter() - start)
        assert all(np.array_equal(a, b) for a, b in zip(tensors, decoded, strict=True))
        for peer, sizes in peers(tensors, nncodec).items():
            ratio = len(content) / sizes["bytes"]
            row = {"case": case, "ours": len(content), "peer": round(sizes["bytes"]), "peer_name": peer}
            rows.append({**row, "unit": "bytes", "ratio": ratio})
            if "decode_s" in sizes:
                ours, theirs = float(np.median(seconds)), sizes["decode_s"]
                row = {"case": f"{case}, decoding", "ours": ours, "peer": theirs, "peer_name": peer}
                rows.append({**row, "unit": "s", "ratio": ours / theirs})
        print(f"{case}: decoded in {min(seconds):.2f} s", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, "peak_rss_mb": peak}


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--nncodec", metavar="PYTHON", default=os.environ.get("ACCELSIM_NNCODEC"))
    parser.add_argument("--only", metavar="CASE", default="")
    arguments = parser.parse_args()
    folder = os.environ.get("ACCELSIM_DATA")
    result = measure(Path(folder) if folder else None, arguments.nncodec, arguments.only)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for row in result["rows"]:
        print(f"{row['case']:26} {row['peer_name']:20} {row['ours']:>12.6g} {row['peer']:>12.6g} {row['ratio']:.3f}")


if __name__ == "__main__":
    main()
