"""What all tests share: shipped models that a process decodes once, and a small member of the ResNet family.

Decoding takes a second and more, many times what most tests do with the model; every reader gets a copy of its own.
"""

import copy
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from accelsim.arrays import Levels
from accelsim.dual import file
from accelsim.dual.coding.coders import Coder, encode
from accelsim.dual.model import DualModel
from accelsim.network.graph import Graph
from accelsim.network.zoo import NETWORKS, resnet_cifar
from tests.small_dual import ROOT
from tests.undrawn import without_pictures


def pytest_configure() -> None:
    """One seed of ``test_fuzz.py`` for this process and the workers that it starts; laws on a busy machine.

    A deadline says of a law only how much else the machine had to do.
    """
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")
    os.environ.setdefault("FUZZ_SEED", str(secrets.randbelow(1 << 32)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes do not become part of a test's name: archives hold the time, and workers must collect the same names."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take minutes are begun first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which seed a run that fuzzed had, also where nothing failed."""
    reports = (report for some in terminalreporter.stats.values() for report in some)
    if any("test_fuzz.py" in getattr(report, "nodeid", "") for report in reports):
        terminalreporter.write_line(f"fuzzed with FUZZ_SEED={os.environ['FUZZ_SEED']}")


@pytest.fixture(autouse=True, scope="session")
def _shipped_models_are_decoded_once() -> Iterator[None]:
    shipped = {hashlib.sha256(path.read_bytes()).digest() for path in ROOT.glob("models/*.dual")}
    decode = file.decode_dual
    remembered = cache(decode)

    def decode_once(content: bytes, where: str) -> DualModel:
        if hashlib.sha256(content).digest() not in shipped:
            return decode(content, where)
        return copy.deepcopy(remembered(content, "a shipped model"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "decode_dual", decode_once)
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Pictures of commands are not drawn, see ``tests.undrawn``."""
    with without_pictures():
        yield


@pytest.fixture
def bz2_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written by bz2, which fits no statistics: a tenth of the time, where their size does not matter."""

    def coded(tensors: Sequence[Levels], _: Coder | None) -> tuple[Coder, bytes]:
        return "bz2", encode(tensors, "bz2")[0]

    monkeypatch.setattr(file, "_coded", coded)


@pytest.fixture(scope="module")
def resnet8() -> Iterator[Graph]:
    """ResNet-8 for CIFAR-10, known by its name in the zoo: one block a stage where ResNet-20 has three.

    For what holds for every network, and takes a third of the time on this one.
    """
    graph = resnet_cifar(8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, graph.name, partial(resnet_cifar, 8))
        yield graph
