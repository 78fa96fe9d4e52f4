"""``accelsim sparsify``: a trained network made small and jointly sparse from some pictures, without labels.

What a file and its multiplies may cost is shared out among the layers by price
(``training.prices``); each layer then is reconstructed with its zeros, exact in both domains
(``sparsity.reconstruction``), and rounded at a price on bits (``compression.rounding``).  Batch
normalisation gets the statistics of the sparse network: of the pictures it is only asked how much
means and variances have moved, so that a few hundred of them do.

Layers with groups keep their weights, at 8 bits.  Without pictures smooth noise stands for them,
which keeps less of what the network knows.  The same network, pictures and settings give the same
bytes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from accelsim.arrays import Array, Ints
from accelsim.compression.correct import corrected_biases
from accelsim.compression.moved_statistics import CHUNK, moved_statistics
from accelsim.compression.quantize import compressed_network, quantize, winograd_threshold, winograd_tiles
from accelsim.compression.rounding import EXACT, fitted, with_zeros, zeros_of_filters
from accelsim.dual.deploy import winograd_convolution
from accelsim.dual.file import CompressedNetwork, decode_dual, encode_dual, with_accuracy
from accelsim.dual.model import DualModel
from accelsim.errors import InputError, NumericalError
from accelsim.network import Network, forward
from accelsim.settings import Positive, Section
from accelsim.sparsity.initial_zeros import exact_shares
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import NO_BUDGET, Budget, Reconstruction
from accelsim.sparsity.reconstruction import LayerReport, is_refitted, reconstruct
from accelsim.threads import on_all_cores, on_one_thread
from accelsim.training.checkpoint import load_state, save_state
from accelsim.training.pricelist import PriceList
from accelsim.training.prices import Cost, Grid, LayerPrice, Points, PricingImages, chosen, measure

PRICES = "prices.json"
GROUPED_LEVELS = 127  # the largest index of a layer with groups
APART = 8  # pictures apart that pass through a network together
NOISE = 64  # pictures of smooth noise, where there are no others

Watch = Callable[[str], None]  # takes a line of progress


class Wish(Section):
    """What a sparse network is to be, and from what.

    All that its prices depend on but the network itself.
    """

    network: str
    """SHA-256 of the network's arrays."""

    pictures: str
    """SHA-256 of the pictures."""

    tile: Annotated[int, Field(ge=1, le=6)] = 2
    """m of F(m, r) of all layers that Winograd serves."""

    bit_price: Positive = 0.1
    """Price of a bit where the squared error of a whole cell costs 1."""

    value_bits: Annotated[int, Field(ge=2, le=24)] = 12
    """Bits of each bias, scale and shift."""

    reconstruction: Reconstruction
    """How layers are made sparse, with the budgets."""


@dataclass(frozen=True)
class Pictures:
    """What a network is made sparse with.

    fit: (N, H, W, C) float32, preprocessed, to reconstruct from.  apart: others, to measure on.
    labels: of those apart, if known.  real: whether they are pictures, not noise.
    """

    fit: Array
    apart: Array
    labels: Ints | None = None
    real: bool = True


@dataclass(frozen=True)
class LayerLoss:
    """One layer of the sparse network."""

    name: str
    zeros_sd: float  # share of zeros in the spatial domain
    zeros_wd: float  # share of zeros in the Winograd domain, 0 where it does not serve
    error: float  # of the layer's outputs' variance, after its reconstruction
    predicted: float  # loss of the network if it were the only sparse layer, as priced
    bits: float  # a weight, as priced
    multiplies: float  # an image, as priced


@dataclass(frozen=True)
class Sparse:
    """A sparse network.

    The file's content and model, its layers, and how it compares with the dense one.
    """

    content: bytes
    model: DualModel
    layers: list[LayerLoss]
    figures: Mapping[str, float]


def make_wish(network: Network, pictures: Pictures, tile: int) -> Wish:
    """The settings, for as many pictures as there are, without budgets.  tile: m of F(m, r)."""
    budget = Budget(
        ratio=NO_BUDGET,
        cost_reduction=NO_BUDGET,
        images=len(pictures.apart),
        zeros=(0.3, 0.6, 0.85),
        iterations=10,
        polish=6,
    )
    return Wish(
        network=_digest(network.arrays),
        pictures=_digest({"fit": pictures.fit, "apart": pictures.apart}),
        tile=tile,
        reconstruction=Reconstruction(images=len(pictures.fit), budget=budget),
    )


def smooth_noise(shape: tuple[int, int, int]) -> np.ndarray:
    """Pictures of no meaning, with as much detail at every scale as photographs have.

    (NOISE, H, W, C) uint8.
    """
    rng = np.random.default_rng(0)
    H, W, C = shape
    down = np.minimum(np.arange(H), H - np.arange(H))[:, None]
    across = np.minimum(np.arange(W), W - np.arange(W))[None, :]
    spectrum = 1 / np.maximum(1.0, np.hypot(down * W / max(H, W), across * H / max(H, W)))
    white = rng.standard_normal((NOISE, H, W, 1)) + 0.4 * rng.standard_normal((NOISE, H, W, C))
    waves = np.fft.ifft2(np.fft.fft2(white, axes=(1, 2)) * spectrum[:, :, None], axes=(1, 2)).real
    waves /= waves.std(axis=(1, 2, 3), keepdims=True) + 1e-12
    return np.clip(np.rint(120 + 60 * waves), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Sparsifier:
    """A network to be made small and sparse, and from what.

    work: the folder where prices are kept, and each choice of shares' weights once they are found;
    a run that was interrupted goes on from there.  provenance: notes for the file.  say: told of
    each layer.
    """

    network: Network
    pictures: Pictures
    wish: Wish
    work: Path
    provenance: Mapping[str, str]
    say: Watch

    def with_budgets(self, ratio: float | None, cost_reduction: float | None) -> "Sparsifier":
        """The same, to other budgets.

        ratio, cost_reduction: as in ``Budget``; None: no such budget.
        """
        settings = self.wish.reconstruction
        wanted = {"ratio": ratio or NO_BUDGET, "cost_reduction": cost_reduction or NO_BUDGET}
        budget = self.budget.model_copy(update=wanted)
        settings = settings.model_copy(update={"budget": budget})
        return replace(self, wish=self.wish.model_copy(update={"reconstruction": settings}))

    def to_budgets(self) -> Sparse:
        """The network made sparse to the wish's budgets.

        Raises InputError if they cannot be kept, or the network has no layer that could be made
        sparse.
        """
        return self.with_shares(self.shares(self.price_layers()))

    def price_layers(self) -> Points:
        """What each layer would lose at each of some shares of zeros; the same for all budgets.

        No layer is priced again whose price is in the work folder.
        Raises InputError if the network has no layer that could be made sparse.
        """
        layers = [name for name in self.regularizer.spatial if is_refitted(self.network.graph.node(name))]
        if not layers:
            name = self.network.graph.name
            raise InputError(f"{name}: no convolution without groups and no linear layer to make sparse")
        prices = PriceList(self.work / PRICES, self.wish)

        def note(layer: str, grid: Grid) -> None:
            prices.add(layer, grid)
            losses = [point.loss for row in grid for point in row]
            self.say(
                f"priced {len(prices.grids)} of {len(layers)}: {layer}, loss {min(losses):.2g} to {max(losses):.2g}"
            )

        calibration = PricingImages(self.pictures.fit, self.pictures.apart)
        settings = self.wish.reconstruction
        return measure(self.network, calibration, self.regularizer, settings, dict(prices.grids), note)

    def shares(self, points: Points, cost: Cost | None = None) -> dict[str, LayerPrice]:
        """What each layer takes of the wish's budgets, or with a cost of that instead of multiplies.

        Raises InputError if they cannot be kept.
        """
        budget = self.budget
        try:
            return chosen(self.network, points, self.regularizer, budget, cost)
        except ValueError as error:
            flags = (("--ratio", budget.ratio), ("--cost-reduction", budget.cost_reduction))
            asked = ", ".join(f"{flag} {value:g}" for flag, value in flags if value != NO_BUDGET)
            raise InputError(f"{self.network.graph.name}: {asked} cannot be kept: {error}; expected less") from None

    @on_one_thread
    def with_shares(self, taken: Mapping[str, LayerPrice]) -> Sparse:
        """The network with such zeros and cells in each layer."""
        network = self.network
        arrays, reports = self._reconstructed(taken)
        self.say("rounding the weights")
        whole = _rounded(Network(network.graph, arrays), network, self.pictures, self.wish, taken, self.provenance)
        self.say("coding the weights")
        content = encode_dual(whole)
        model = decode_dual(content, "the new file")
        figures = compare(network, model, self.pictures)
        content = with_accuracy(content, figures)
        digest = hashlib.sha256(content).hexdigest()
        model = replace(model, accuracy=figures, file_bytes=len(content), sha256=digest)
        losses = [
            LayerLoss(
                name=report.name,
                zeros_sd=report.zeros_sd,
                zeros_wd=report.zeros_wd,
                error=report.error,
                predicted=taken[report.name].loss,
                bits=taken[report.name].bits / network.arrays[f"{report.name}.weight"].size,
                multiplies=taken[report.name].multiplies,
            )
            for report in reports
            if report.name in taken
        ]
        return Sparse(content, model, losses, figures)

    @property
    def budget(self) -> Budget:
        """The wish's budgets, and what prices are measured at."""
        found = self.wish.reconstruction.budget
        assert found is not None
        return found

    @cached_property
    def regularizer(self) -> JointRegularizer:
        """The layers that can be sparse, and m of F(m, r) of each."""
        return JointRegularizer(self.network.graph, {"default": self.wish.tile})

    def _reconstructed(
        self,
        taken: Mapping[str, LayerPrice],
    ) -> tuple[dict[str, Array], list[LayerReport]]:
        """The arrays with their zeros, from the work folder if they were found before."""
        goals = {name: (price.zeros_sd, price.zeros_wd) for name, price in taken.items()}
        known = {"wish": self.wish.model_dump(mode="json"), "goals": [[name, *goals[name]] for name in goals]}
        folder = self.work / f"shares-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]}"
        reports: list[LayerReport] = []
        if (folder / "state.safetensors").exists():
            arrays, notes = load_state(folder)
            if {key: notes.get(key) for key in known} == known:
                try:
                    return arrays, [LayerReport(**entry) for entry in notes["layers"]]
                except (KeyError, TypeError) as error:
                    raise InputError(f"{folder}: {error}, expected the state of this network") from None

        def note(report: LayerReport) -> None:
            reports.append(report)
            self.say(f"made sparse {len(reports)} of {len(taken)}: {report.name}, error {100 * report.error:.2f} %")

        settings = self.wish.reconstruction
        found = reconstruct(self.network, self.pictures.fit, self.regularizer, goals, settings, note)
        save_state(folder, found, {**known, "layers": [report.__dict__ for report in reports]})
        return found, reports


def _rounded(
    sparse: Network,
    dense: Network,
    pictures: Pictures,
    wish: Wish,
    taken: Mapping[str, LayerPrice],
    provenance: Mapping[str, str],
) -> CompressedNetwork:
    """A sparse network rounded with its zeros, means and variances set right."""
    tiles = winograd_tiles(sparse.graph, wish.tile)
    regularizer = JointRegularizer(sparse.graph, {"default": wish.tile})
    share_wd = exact_shares(regularizer, sparse.arrays)[1]
    cells = {}
    for name in regularizer.spatial:
        w = sparse.arrays[f"{name}.weight"].astype(np.float64)
        nonzero = w[w != 0]
        rms = float(np.sqrt((nonzero**2).mean())) if nonzero.size else 1.0
        own = taken[name].cell * rms if name in taken else float(np.abs(w).max(initial=0)) / GROUPED_LEVELS
        cells[f"{name}.weight"] = own or 1.0
    quantized = quantize(sparse, 1.0, 0.0, cells=cells)
    zeros = zeros_of_filters(sparse, tiles, share_wd, quantized.quantizer)
    quantized = with_zeros(quantized, sparse, zeros)
    quantized = fitted(quantized, sparse, zeros, pictures.fit, wish.bit_price)
    theta = winograd_threshold(quantized.network, tiles, share_wd)
    theta = max(theta, EXACT * min(quantized.quantizer.cells.values()))
    arrays = dict(quantized.network.arrays)
    if pictures.real:
        arrays |= moved_statistics(dense, Network(sparse.graph, arrays), pictures.fit)
        arrays |= corrected_biases(dense, Network(sparse.graph, arrays), pictures.fit[: 4 * CHUNK])
    quantized = replace(quantized, network=Network(sparse.graph, arrays))
    return compressed_network(
        quantized,
        winograd_m=tiles,
        winograd_threshold=theta,
        calibration=pictures.fit,
        value_bits=wish.value_bits,
        provenance=provenance,
    )


def compare(dense: Network, model: DualModel, pictures: Pictures) -> dict[str, float]:
    """How the file compares with the dense network on the pictures apart, in each domain.

    Of a classifier: ``agreement_...``, percent of pictures that get the same answer, and with
    labels ``top1_...``; of any other network ``psnr_...`` of its outputs, in dB, where their range
    is the peak.  Raises NumericalError if an output is not a finite number.
    """
    x = pictures.apart
    winograd = winograd_convolution(model)
    asked = ((dense, None), (model.network, None), (model.network, winograd))
    parts = [x[first : first + APART] for first in range(0, len(x), APART)]
    found = on_all_cores(lambda each: _outputs(*each), [(*each, part) for each in asked for part in parts])
    truth, *others = (np.concatenate(found[i : i + len(parts)]) for i in range(0, len(found), len(parts)))
    domains = dict(zip(("spatial", "winograd"), others, strict=True))
    figures = {}
    if truth.ndim != 2:
        peak = float(np.ptp(truth)) or 1.0
        for name, y in domains.items():
            error = float(np.mean((y.astype(np.float64) - truth) ** 2))
            figures[f"psnr_{name}"] = round(10 * float(np.log10(peak**2 / max(error, 1e-30))), 3)
        return figures
    answers = truth.argmax(axis=1)
    for name, y in domains.items():
        figures[f"agreement_{name}"] = round(100 * float((y.argmax(axis=1) == answers).mean()), 3)
    if pictures.labels is not None:
        figures["top1_reference"] = round(100 * float((answers == pictures.labels).mean()), 3)
        for name, y in domains.items():
            figures[f"top1_{name}"] = round(100 * float((y.argmax(axis=1) == pictures.labels).mean()), 3)
    return figures


def _outputs(network: Network, convolution: Callable[..., Array] | None, x: Array) -> Array:
    y = forward(network, x, convolution=convolution)
    if not np.isfinite(y).all():
        raise NumericalError(
            f"{network.graph.name}: outputs on the images are no finite numbers, so that none compares"
        )
    return y


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
