"""The same weights in the code that decodes fast, where that takes no more bytes.

    python -m experiments.recode MODEL.dual ...

Each file is replaced, atomically, if it comes out no larger; its weights stay the same to the bit.
"""

import argparse
from pathlib import Path

import numpy as np

from accelsim.dual.file import decode_dual, with_coder
from accelsim.files import DUAL, read_bytes, write_bytes


def recode(path: Path) -> str:
    """Recode one file; what became of it."""
    old = read_bytes(path, DUAL)
    new = with_coder(old, "static")
    before, after = decode_dual(old, str(path)), decode_dual(new, str(path))
    for name, array in before.network.arrays.items():
        if not np.array_equal(array, after.network.arrays[name]):
            raise AssertionError(f"{path}: {name} differs after recoding")
    if len(new) > len(old):
        return f"kept: {len(old)} bytes, recoded {len(new)}"
    write_bytes(path, new)
    return f"{len(old)} -> {len(new)} bytes"


def main() -> None:
    """Recode the files named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        print(f"{path}: {recode(path)}")


if __name__ == "__main__":
    main()
