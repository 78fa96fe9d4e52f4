"""The installation that README and docs describe, from a clone into an environment of its own; it wants the network."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from experiments.paths import ROOT
from tests.test_docs import block_of

INSTALL = block_of("README.md", "bash", "git clone")
OFFLINE = "Could not find a version that satisfies the requirement"
IMPORT_SECONDS = 0.3  # of a processor
HELP_SECONDS = 0.5


def shell(script: str, folder: Path, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What bash says to a script; ``first``: the folder in which commands are looked for first."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if first is not None:
        environment["PATH"] = f"{first}{os.pathsep}{environment['PATH']}"
    return subprocess.run(["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True)


def test_both_pages_say_the_same() -> None:
    assert block_of("docs/index.md", "bash", "git clone") == INSTALL


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an installation made as the README says."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone of the repository")
    folder = tmp_path_factory.mktemp("installed")
    done = shell(INSTALL.replace("<this repository>", f"{ROOT} accelsim"), folder)
    if OFFLINE in done.stderr:
        pytest.skip("no package index")
    assert done.returncode == 0, done.stderr
    return folder / "accelsim" / ".venv" / "bin"


@pytest.mark.slow
def test_an_installation_runs_from_an_empty_folder(commands: Path, tmp_path: Path) -> None:
    assert shell("accelsim --version && python -m accelsim --version", tmp_path, commands).returncode == 0
    done = shell("accelsim compare resnet20-cifar10 spatial-16x16 winograd-16x16 -o out", tmp_path, commands)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def seconds(script: str, folder: Path, first: Path) -> float:
    """Processor seconds that a script takes, the least of three runs: the first one writes byte code."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert shell(script, folder, first).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


@pytest.mark.slow
def test_import_and_help_are_quick(commands: Path, tmp_path: Path) -> None:
    assert seconds("python -c 'import accelsim'", tmp_path, commands) < IMPORT_SECONDS
    assert seconds("accelsim --help", tmp_path, commands) < HELP_SECONDS


@pytest.mark.slow
def test_the_extra_of_a_cluster_installs_in_the_checkout(commands: Path) -> None:
    line = block_of("docs/cluster.md", "bash", "pip install").splitlines()[0]
    done = shell(line, commands.parents[1], commands)
    assert done.returncode == 0, done.stderr
    assert shell("python -c 'import distributed'", commands, commands).returncode == 0
