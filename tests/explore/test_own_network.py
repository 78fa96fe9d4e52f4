"""From a network of one's own and pictures to a page whose sentences are true of the tables."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accelsim.cli import main
from accelsim.compression.importing import Wishes
from accelsim.compression.sparsified import Asked
from accelsim.compression.sparsify import smooth_noise
from accelsim.dual.deploy import winograd_densities, winograd_model
from accelsim.errors import InputError
from accelsim.explore import own_network
from accelsim.explore.own_network import PAIRS, explore_network, sentences
from accelsim.files import alone_in
from accelsim.report import explored as explored_page
from tests.dual.small import small_network
from tests.explore.small import write_small

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
    for column, what in (("cycles", "cycles"), ("energy_pj", "energy")):
        (line,) = [line for line in told.splitlines() if line.startswith("Over all") and f"times the {what} of" in line]
        ratios = []
        for made in found:
            for pair in PAIRS:
                spatial, winograd = (float(made.results[name].layers[column].sum()) for name in pair)
                ratios.append(winograd / spatial)
        stated = [float(number) for number in re.findall(r"(?:takes|to) ([0-9.]+) \(", line)]
        np.testing.assert_allclose(stated, [min(ratios), max(ratios)], atol=0.006)
        assert ("neither" in line) == (not min(ratios) <= 0.995 <= 1.005 <= max(ratios))
    for pair in PAIRS:
        (line,) = [line for line in told.splitlines() if f"energy of {pair[0]}." in line]
        ratio = float(re.search(r"takes ([0-9.]+) times the cycles", line).group(1))
        best = next(made for made in found if made.name in told.splitlines()[0])
        cycles = [float(best.results[name].layers["cycles"].sum()) for name in pair]
        np.testing.assert_allclose(ratio, cycles[1] / cycles[0], atol=0.005)
        assert pair[0] in page
        assert pair[1] in page
    doubts = [line for line in told.splitlines() if line.startswith(f"What nobody measured: with {best.name}, ")]
    for line, column in zip(doubts, ("latency_ms", "energy_pj"), strict=True):
        spatial, winograd = (float(best.results[name].total[column]) for name in PAIRS[0])
        stated, least, most = map(float, re.search(r"takes (\S+) of .*, (\S+) to (\S+) over 9", line).groups())
        assert stated == pytest.approx(winograd / spatial, abs=0.005)
        assert least <= stated <= most
        turned = "nothing turns it." not in line
        assert turned == ("; turned by " in line)
        assert (least < 1 < most) <= turned <= (least <= 1 <= most)  # 1.00 may be either, rounded
    arrays = [array for name, array in best.model.network.arrays.items() if name.endswith("weight") and array.ndim > 1]
    zeros = sum(np.count_nonzero(array == 0) for array in arrays) / sum(array.size for array in arrays)
    assert f" {100 * zeros:.1f} % of its weights and " in told.splitlines()[0]
    entries = {name: float(W.size) for name, W in winograd_model(best.model, threshold=0.0).items()}
    zeros = sum((1 - share) * entries[name] for name, share in winograd_densities(best.model).items())
    assert f" {100 * zeros / sum(entries.values()):.1f} % of its Winograd-domain weights are" in told.splitlines()[0]
    assert f"accelsim validate {best.name}.dual {' '.join(PAIRS[0])} --images DIR --reference NETWORK" in page
    kept = "97 % of the dense network's answers in both domains"
    assert told.startswith(f"The smallest file that keeps at least {kept} is")
    assert told.splitlines()[0].endswith(", on the 6 pictures that were kept apart.")  # of 24
    worse = ({"agreement_spatial": 90.0 + i, "agreement_winograd": 95.0} for i in range(len(found)))
    poor = [replace(made, figures=figures) for made, figures in zip(found, worse, strict=True)]
    assert sentences(poor)[0].startswith(f"No file keeps {kept}; the one that keeps most is {found[-1].name}: ")


def quick(monkeypatch, budgets=()):
    """One pair of machines; budgets that no network keeps."""

    def none(*_):
        raise InputError("cannot be kept")

    monkeypatch.setattr(own_network, "PAIRS", PAIRS[1:2])
    monkeypatch.setattr(own_network, "BUDGETS", budgets)
    monkeypatch.setattr(own_network, "sparse_point", none)


def explored(model: Path, folder: Path, *, resume: bool = False) -> list[str]:
    asked = Asked(images=model.parent / "images.npz", resume=resume)
    return [made.name for made in explore_network(model, folder, Wishes(), asked, lambda line: None)]


def test_files_of_another_network_are_not_taken_for_this_ones(tmp_path, monkeypatch):
    quick(monkeypatch)
    one, other = (write_small(tmp_path / name, seed) for seed, name in enumerate("ab"))
    assert explored(one, tmp_path / "out") == ["dense"]
    begun = (tmp_path / "out" / "dense.dual").read_bytes()
    with pytest.raises(InputError, match="of another network or of other pictures"):
        explored(other, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "dense.dual").read_bytes() == begun
    assert explored(one, tmp_path / "out", resume=True) == ["dense"]


def test_sparse_files_of_an_earlier_exploration_are_resumed_or_go(tmp_path, monkeypatch):
    quick(monkeypatch, budgets=((6.0, 1.8),))
    one, other = (write_small(tmp_path / name, seed) for seed, name in enumerate("ab"))
    assert explored(one, tmp_path / "out") == ["dense"]
    (tmp_path / "out" / "sparse-6x.dual").write_bytes(one.read_bytes())
    assert explored(one, tmp_path / "out", resume=True) == ["dense", "sparse-6x"]
    assert explored(other, tmp_path / "out") == ["dense"]
    assert not (tmp_path / "out" / "sparse-6x.dual").exists()


def test_sparse_files_that_nothing_says_the_network_of_are_made_again(tmp_path, monkeypatch):
    """Of the same graph, beside no ``dense.dual``: they may be another network's."""
    quick(monkeypatch, budgets=((6.0, 1.8),))
    one, other = (write_small(tmp_path / name, seed) for seed, name in enumerate("ab"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sparse-6x.dual").write_bytes(other.read_bytes())
    assert explored(one, tmp_path / "out", resume=True) == ["dense"]
    assert not (tmp_path / "out" / "sparse-6x.dual").exists()


def test_there_is_a_page_as_soon_as_there_is_a_file(tmp_path, monkeypatch, capsys):
    """Each file's page stands while the next one is made, and says how many are still to come."""
    pages = []
    folder = tmp_path / "out"

    def keep(*_):
        pages.append((folder / "report.html").read_text())
        raise InputError("cannot be kept")

    compared = []
    report = explored_page.report_files
    quick(monkeypatch, budgets=((6.0, 1.8), (12.0, 2.8)))
    monkeypatch.setattr(explored_page, "PAIRS", PAIRS[1:2])
    monkeypatch.setattr(explored_page, "report_files", lambda of: compared.append(of) or report(of))
    monkeypatch.setattr(own_network, "sparse_point", keep)
    model = write_small(tmp_path)
    assert main(["explore", str(model), "--images", str(tmp_path / "images.npz"), "-o", str(folder)]) == 0
    for page, awaited in zip(pages, (2, 1), strict=True):
        assert f"1 file so far, {awaited} to be made, 2 machines" in page
    assert "so far" not in (folder / "report.html").read_text()
    assert capsys.readouterr().err.count(f"page so far: {folder}") == 2
    assert len(compared) == 1  # of three pages, the one file's comparison


def test_two_explorations_do_not_share_a_folder(tmp_path, monkeypatch):
    quick(monkeypatch)
    model = write_small(tmp_path)
    with alone_in(tmp_path / "out", "mine"), pytest.raises(InputError, match="another exploration is running there"):
        explored(model, tmp_path / "out")


def test_no_page_is_written_among_the_pictures(tmp_path, capsys):
    model = write_small(tmp_path / "net")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "same").symlink_to(tmp_path / "pictures")
    for folder in ("pictures", "same"):
        arguments = ["explore", str(model), "--images", str(tmp_path / "pictures"), "-o", str(tmp_path / folder)]
        assert main(arguments) == 2
        assert capsys.readouterr().err == (
            f"error: {tmp_path / folder}: is read for what would be written there, expected another folder\n"
        )
    assert not list((tmp_path / "pictures").iterdir())
