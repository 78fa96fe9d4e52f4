"""The folders of the repository that scripts read from and write to."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HWCONFIGS = ROOT / "hwconfigs"
MODELS = ROOT / "models"
RECIPES = ROOT / "recipes"
REPORTS = ROOT / "reports"
SWEEPS = ROOT / "sweeps"
WORKLOADS = ROOT / "workloads"
PEERS = ROOT / "build" / "peers"  # other simulators, each in an environment of its own
