"""NNCodec's entropy coder (DeepCABAC, ISO/IEC 15938-17) on integers; ``coding.py`` runs it in NNCodec's own Python.

    python nncodec_worker.py TENSORS.npz  ->  {"bytes": ..., "encode_s": ..., "decode_s": ...} on stdout

Only the compiled coder is loaded, so NumPy is all that it needs.  Each tensor gets the best of NNCodec's five scan
orders and of two unary lengths; its parameter optimisation and row skipping are on.  Only the payload counts.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def load_coder() -> Any:
    """The extension module ``nncodec.extensions.deepCABAC`` without the package around it."""
    package = importlib.util.find_spec("nncodec")
    if package is None or not package.submodule_search_locations:
        sys.exit("nncodec is not installed in this Python")
    files = sorted(Path(package.submodule_search_locations[0]).glob("extensions/deepCABAC*.so"))
    spec = importlib.util.spec_from_file_location("deepCABAC", files[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decoding(coder: Any, code: Any, tensor: Any, unary: int) -> float:
    """Seconds to decode one tensor, which must come back (in scan order 0, NNCodec's default)."""
    decoded = np.zeros_like(tensor)
    decoder = coder.Decoder()
    start = time.perf_counter()
    decoder.setStream(code)
    decoder.initCtxModels(unary)
    decoder.decodeLayer(decoded, 0, 0, 1, 0, coder.HdspMode.AlwaysOff, np.zeros(2, np.int8), 0, 0)
    seconds = time.perf_counter() - start
    if not np.array_equal(decoded, tensor):
        sys.exit("nncodec decoded other values than it encoded")
    return seconds


def main(path: str) -> None:
    """Code every tensor of the file."""
    coder = load_coder()
    off = (coder.HdspMode.AlwaysOff, np.zeros(2, np.int8))
    total, encode_s, decode_s = 0, 0.0, 0.0
    with np.load(path) as content:
        tensors = [np.ascontiguousarray(content[name], np.int32) for name in content.files]
    for tensor in tensors:
        skip = (~tensor.reshape(len(tensor), -1).any(axis=1)).astype(np.int32)
        sizes = []
        for scan in range(5):
            for unary in (1, 11):
                encoder = coder.Encoder()
                start = time.perf_counter()
                encoder.initCtxModels(unary, 1)
                encoder.encodeLayer(tensor, 0, scan, 1, 0, 1, skip, *off, 0, 0)
                code = encoder.finish()
                encode_s += time.perf_counter() - start
                sizes.append(code.size)
                if scan == 0 and unary == 11:
                    decode_s += decoding(coder, code, tensor, unary)
        total += min(sizes)
    print(json.dumps({"bytes": total, "encode_s": encode_s, "decode_s": decode_s}))


if __name__ == "__main__":
    main(sys.argv[1])
