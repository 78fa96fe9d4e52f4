"""Stream beside us: DRAM bytes of its own FSRCNN on one core, layer by layer and fused, in its own Python.

python -m experiments.peers.stream [--rows N]    # reports/stream.json, all 540 rows by default
"""

import argparse
import json
from pathlib import Path
from typing import Any

from accelsim.files import write_text
from experiments.paths import REPORTS
from experiments.peers.environment import environment
from experiments.peers.worker import run_worker

# Stream 0.0.8 is of ZigZag 2; it imports plotly and seaborn without requiring them.
REQUIREMENTS = ("stream-dse==0.0.8", "zigzag-dse==2.5.4", "plotly", "seaborn")
WORKER = Path(__file__).with_name("stream_worker.py")
STORED = REPORTS / "stream.json"
ROWS = 540
BUFFER_KB = 1024  # of the memory for maps, and of that for weights


def dram_bytes(rows: int = ROWS) -> dict[str, dict[str, Any]]:
    """Bytes and CPU seconds by level (layers, depth-first), of so many rows of pixels.

    Raises ``environment.Unavailable``; RuntimeError if Stream fails.
    """
    job = json.dumps({"rows": rows, "buffer_kb": BUFFER_KB})
    found: dict[str, dict[str, Any]] = run_worker(environment("stream", REQUIREMENTS), WORKER, {"job.json": job})
    return found


def main() -> None:
    """Run Stream and keep what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="of pixels")
    rows = parser.parse_args().rows
    kept = {"installed": REQUIREMENTS, "rows": rows, "buffer_kb": BUFFER_KB, "levels": dram_bytes(rows)}
    write_text(STORED, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
