"""Run a peer's worker script in the peer's own Python: files in, one JSON value out."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_worker(interpreter: Path, worker: Path, files: Mapping[str, str]) -> Any:
    """What ``worker FOLDER`` writes into FOLDER/result.json, where FOLDER holds the files (text by name).

    Raises RuntimeError with the end of its complaint if it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text)
        # -P: the worker's folder holds modules named as the peers are.  cwd: AccelForge leaves a drawing.
        command = [str(interpreter), "-P", str(worker), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"{worker.stem}: {done.stderr.strip()[-300:]}")
        return json.loads((folder / "result.json").read_text())
