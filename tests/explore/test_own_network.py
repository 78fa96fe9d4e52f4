"""From a network of one's own and pictures to a page whose sentences are true of the tables."""

import re

import numpy as np
import pytest
from PIL import Image

from accelsim.cli import main
from accelsim.compression.importing import Wishes
from accelsim.compression.sparsified import Asked
from accelsim.compression.sparsify import smooth_noise
from accelsim.explore.own_network import PAIRS, explore_network, sentences
from tests.dual.small import small_network

pytest.importorskip("onnx")


def test_a_page_says_which_machine_and_why(tmp_path, capsys):
    from accelsim.network.onnx import write_onnx

    write_onnx(small_network(), tmp_path / "mine.onnx")
    (tmp_path / "pictures").mkdir()
    for i, pixels in enumerate(smooth_noise((9, 8, 3))[:24]):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    arguments = ["explore", str(tmp_path / "mine.onnx"), "--images", str(tmp_path / "pictures")]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "dense.dual").is_file()
    assert (tmp_path / "out" / "dense" / "report.html").is_file()
    asked = Asked(images=tmp_path / "pictures", resume=True)
    found = explore_network(tmp_path / "mine.onnx", tmp_path / "out", Wishes(), asked, lambda line: None)
    assert sentences(found) == told.strip().splitlines()
    for pair in PAIRS:
        (line,) = [line for line in told.splitlines() if f"energy of {pair[0]}." in line]
        ratio = float(re.search(r"takes ([0-9.]+) times the cycles", line).group(1))
        best = next(made for made in found if made.name in told.splitlines()[0])
        cycles = [float(best.results[name].layers["cycles"].sum()) for name in pair]
        np.testing.assert_allclose(ratio, cycles[1] / cycles[0], atol=0.005)
        assert pair[0] in page
        assert pair[1] in page
