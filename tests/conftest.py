"""What all tests share: a process decodes each shipped model once, and every reader gets a copy of its own.

Decoding takes a second and more, many times what most tests do with the model.
"""

import copy
import hashlib
from collections.abc import Iterator
from functools import cache

import pytest

from accelsim.dual import file
from accelsim.dual.model import DualModel
from tests.small_dual import ROOT


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
