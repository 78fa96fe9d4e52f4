"""``accelsim compress``: from a checkpoint to a ``.dual`` file by a recipe, measured on the test images.

Prune and quantize, fine-tune codebook and batch-norm, fold, calibrate, code, write, measure in both domains.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.compression.compress import (
    Quantized,
    quantize,
    seal,
    spatial_threshold,
    winograd_threshold,
    winograd_tiles,
)
from accelsim.compression.correct import corrected_biases
from accelsim.compression.deploy import winograd_model
from accelsim.compression.dual import decode_dual, encode_dual, with_accuracy
from accelsim.compression.joint import JointRegularizer
from accelsim.compression.manifest import weight_names
from accelsim.compression.model import DualModel
from accelsim.compression.ratedistortion import search_cells
from accelsim.errors import InputError
from accelsim.files import write_bytes
from accelsim.network.graph import Graph, Network
from accelsim.network.onnx import read_onnx
from accelsim.network.weights import load_network
from accelsim.training.checkpoint import CARD, MODEL, STATE, load_state, save_state
from accelsim.training.codebook import Tuner, Tuning, fine_tune
from accelsim.training.compression_recipe import CompressionRecipe
from accelsim.training.datasets import Source, load_split, resolve
from accelsim.training.evaluate import top1
from accelsim.training.kernels import Array
from accelsim.training.psnr import psnr_by_set
from accelsim.training.rounding import EXACT, Zeros, fitted, with_zeros, zeros_of_filters
from accelsim.training.run import find_network
from accelsim.training.superresolution import Photographs, photographs, training_patches
from accelsim.training.winograd_op import winograd_operations


def compress_checkpoint(
    checkpoint: Path, out: Path, recipe: CompressionRecipe, log: Any = None, resume: bool = False
) -> DualModel:
    """Compress a checkpoint into the ``.dual`` file ``out``; return what that decodes to.

    checkpoint: a folder of ``accelsim train``, or a safetensors, .npz or ONNX file.
    log: called with a line of progress.  resume: go on with the fine-tuning that was interrupted on its way to ``out``
    (its state is in ``out``.tuning until the file is written).
    Raises InputError if the checkpoint, the recipe, the data or the state do not fit together.
    """
    say = log or (lambda _: None)
    network, notes = load_checkpoint(checkpoint, recipe)
    graph = network.graph
    s_sd = _target(recipe.spatial, notes, "sparsity_sd", checkpoint)
    s_wd = _target(recipe.winograd, notes, "sparsity_wd", checkpoint)
    tiles, theta = _tiles(graph, recipe, notes), spatial_threshold(network, s_sd)
    images = _Images(recipe, graph)
    calibration = None if recipe.data is None else images.first(recipe.calibration)
    try:
        relative = _relative_cells(graph, recipe, notes, checkpoint)
        cell, cells = _cells(network, recipe, images, theta, s_wd, tiles, relative)
        if recipe.search is not None:
            say("cells: " + ", ".join(f"{name} {value:.4g}" for name, value in cells.items()))
        quantized = quantize(network, cell, theta, cells=cells, seed=recipe.dither)
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{checkpoint}: {error}") from None
    reference: Network | None = None
    if recipe.reference is not None:
        dense = find_network(recipe.reference.network, "reference.network")
        reference = load_network(dense, resolve(recipe.reference.weights))
    if recipe.tune is not None:
        quantized = _tuned(quantized, network.arrays, recipe, images, reference, s_wd, tiles, out, resume, say)
    zeros: Zeros = {}
    if recipe.hold:
        zeros = zeros_of_filters(network, tiles, s_wd, quantized.quantizer)
        quantized = with_zeros(quantized, network, zeros)
    if recipe.fit is not None:
        quantized = fitted(quantized, network, zeros, images.drawn(recipe.fit), recipe.bit_price)
    theta_wd = winograd_threshold(quantized.network, tiles, s_wd)
    if recipe.hold:
        theta_wd = max(theta_wd, EXACT * min(quantized.quantizer.cells.values()))
    if recipe.correct and calibration is not None:
        biases = corrected_biases(network, quantized.network, calibration)
        quantized = replace(quantized, network=Network(graph, {**quantized.network.arrays, **biases}))
    compressed = seal(
        quantized,
        winograd_m=tiles,
        winograd_threshold=theta_wd,
        calibration=calibration,
        value_bits=recipe.value_bits,
        provenance=_provenance(recipe, notes),
    )
    content = encode_dual(compressed)
    model = decode_dual(content, str(out))
    say(f"{out}: {model.file_bytes} bytes, {4 * model.parameters / model.file_bytes:.2f}x")
    if images.test is not None:
        accuracy = measure(model, images.test, reference, recipe.workers)
        say(", ".join(f"{name} {value:.2f}" for name, value in accuracy.items()))
        content = with_accuracy(content, accuracy)
        sha256 = hashlib.sha256(content).hexdigest()
        model = replace(model, accuracy=accuracy, file_bytes=len(content), sha256=sha256)
    write_bytes(out, content)
    if recipe.tune is not None:
        shutil.rmtree(_state_folder(out), ignore_errors=True)
    return model


class _Images:
    """The images that a recipe names, if any: training images as the network takes them, test images to measure on."""

    def __init__(self, recipe: CompressionRecipe, graph: Graph):
        self.train: Source | None = None  # with labels
        self.test: Source | Photographs | None = None
        self._preprocess = graph.preprocessing.apply
        self._count = 0
        data = recipe.data
        if data is None:
            return
        if data.kind == "super_resolution":
            folder = resolve(data.path)
            patches, self.test = training_patches(data, folder), photographs(data, folder)
            self._count = len(patches)
            self._take: Callable[[NDArray[np.int64]], NDArray[Any]] = lambda index: patches.pairs(index)[0]
        else:
            size, classes = graph.input_shape[:2], graph.shapes[graph.nodes[-1].name][-1]
            self.train, self.test = (load_split(data, split, size, classes) for split in ("train", "test"))
            self._count, self._take = len(self.train.labels), self.train.take

    def first(self, number: int) -> NDArray[np.float32]:
        """The first training images."""
        return self._preprocess(self._take(np.arange(min(number, self._count))))

    def drawn(self, number: int) -> NDArray[np.float32]:
        """Training images drawn by a fixed seed."""
        return self._preprocess(self._take(np.random.default_rng(0).permutation(self._count)[:number]))


def _state_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.tuning")


def load_checkpoint(checkpoint: Path, recipe: CompressionRecipe) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint, and what its card says (empty for a bare weight file and for ONNX)."""
    if checkpoint.suffix == ".onnx":
        return read_onnx(checkpoint), {}
    weights = checkpoint / MODEL if checkpoint.is_dir() else checkpoint
    card = weights.with_name(CARD)
    notes: dict[str, Any] = {}
    if weights.name == MODEL and card.exists():
        try:
            notes = json.loads(card.read_text(encoding="utf-8"))
            name = recipe.network or str(notes["network"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{card}: not a checkpoint's card ({error})") from None
    elif recipe.network is None:
        raise InputError(f"{weights}: a bare weight file, expected a recipe with the key network")
    else:
        name = recipe.network
    return load_network(find_network(name, str(weights)), weights), notes


def _tiles(graph: Graph, recipe: CompressionRecipe, notes: dict[str, Any]) -> dict[str, int]:
    """m of each Winograd layer: those of the checkpoint, if it names them."""
    named = notes.get("winograd_m")
    return {
        name: m
        for name, m in winograd_tiles(graph, recipe.tile).items()
        if not isinstance(named, dict) or name in named
    }


def _cells(
    network: Network,
    recipe: CompressionRecipe,
    images: _Images,
    theta: float,
    winograd_sparsity: float,
    tiles: dict[str, int],
    relative: Mapping[str, float],
) -> tuple[float, dict[str, float]]:
    """D, and D of the arrays that have their own.  theta: theta_SD.  relative: as ``_relative_cells``."""
    cell, cells = recipe.cell or theta or 1.0, dict(recipe.cells)
    for name, times in relative.items():
        w = network.arrays[name]
        w = w[np.abs(w) > theta].astype(np.float64)
        if w.size:
            cells.setdefault(name, times * float(np.sqrt((w**2).mean())))
    if recipe.search is not None:
        tried = {name: cells.get(name, cell) for name in weight_names(network.graph)}
        found = search_cells(
            network,
            images.first(recipe.search.images),
            tried,
            theta,
            winograd_sparsity=winograd_sparsity,
            factors=recipe.search.factors,
            m=tiles,
            correct=recipe.correct,
        )
        cells = found | recipe.cells
    return cell, cells


def _relative_cells(
    graph: Graph, recipe: CompressionRecipe, notes: dict[str, Any], checkpoint: Path
) -> dict[str, float]:
    """D of some arrays as a multiple of the root mean square of their weights that are not zero."""
    names = weight_names(graph)
    if recipe.relative_cell is None:
        return {}
    if recipe.relative_cell != "budget":
        return dict.fromkeys(names, recipe.relative_cell)
    found = notes.get("relative_cells")
    if not isinstance(found, dict) or not found:
        raise InputError(f"{checkpoint}: states no relative_cells, expected weights reconstructed to a budget")
    return {name: float(found[name]) for name in names if name in found}


def measure(model: DualModel, test: Source | Photographs, reference: Network | None, workers: int) -> dict[str, float]:
    """The dense network, and the decoded file in each domain, on the test images.

    Top-1 in percent (``top1_spatial`` ...), or of photographs PSNR by set in dB (``psnr_set5_spatial`` ...).
    """
    graph, arrays = model.network.graph, model.network.arrays
    if isinstance(test, Photographs):
        filters: dict[str, Any] = {"filters": winograd_model(model), "tiles": model.winograd_m}
        figures = {} if reference is None else {"reference": psnr_by_set(reference.graph, reference.arrays, test)}
        figures["spatial"] = psnr_by_set(graph, arrays, test)
        figures["winograd"] = psnr_by_set(graph, arrays, test, **filters)
        return {
            f"psnr_{name}_{domain}": round(value, 4)
            for domain, by_set in figures.items()
            for name, value in by_set.items()
        }
    operations = winograd_operations(winograd_model(model), dict(model.winograd_m))
    accuracy = {}
    if reference is not None:
        accuracy["top1_reference"] = top1(reference.graph, reference.arrays, test, workers=workers)
    accuracy["top1_spatial"] = top1(graph, arrays, test, workers=workers)
    accuracy["top1_winograd"] = top1(graph, arrays, test, workers=workers, operations=operations)
    return {name: round(value, 4) for name, value in accuracy.items()}


def _target(asked: float | None, notes: dict[str, Any], key: str, checkpoint: Path) -> float:
    if asked is not None:
        return asked
    found = notes.get(key)
    if isinstance(found, int | float) and 0 <= found < 1:
        return float(found)
    name = {"sparsity_sd": "spatial", "sparsity_wd": "winograd"}[key]
    raise InputError(f"{checkpoint}: states no {key}, expected a recipe with the key {name}")


def _tuned(
    quantized: Quantized,
    arrays: Mapping[str, Array],
    recipe: CompressionRecipe,
    images: _Images,
    teacher: Network | None,
    winograd_sparsity: float,
    tiles: dict[str, int],
    out: Path,
    resume: bool,
    say: Any,
) -> Quantized:
    """``quantized`` fine-tuned; stopped in any way it goes on from the state beside ``out``, if resume."""
    settings, data = recipe.tune, recipe.data
    assert settings is not None
    assert data is not None
    assert images.train is not None
    tuning = Tuning(
        **settings.model_dump(exclude={"checkpoint_steps"}), crop=data.crop, flip=data.flip, workers=recipe.workers
    )
    graph = quantized.network.graph
    tuner = Tuner(
        graph,
        arrays,
        quantized.indices,
        quantized.quantizer,
        images.train,
        tuning,
        regularizer=JointRegularizer(graph, {"default": 0} | tiles),
        winograd_sparsity=winograd_sparsity,
        teacher=teacher,
    )
    folder = _state_folder(out)
    whole = recipe.model_dump(mode="json") | {"arrays": _digest(arrays)}
    if resume:
        state, notes = load_state(folder)
        if notes.get("recipe") != whole:
            raise InputError(f"{folder / STATE}: the state of another recipe or checkpoint")
        try:
            tuner.restore(state, notes)
        except ValueError as error:
            raise InputError(f"{folder / STATE}: {error}") from None
    elif (folder / STATE).exists():
        raise InputError(f"{folder}: holds an interrupted fine-tuning, expected --resume or no such folder")

    def watch(step: int, loss: float) -> None:
        if step % 20 == 0 or step == tuning.steps:
            say(f"fine-tuning step {step} of {tuning.steps}: loss {loss:.4f}")
        if step % settings.checkpoint_steps == 0:
            state, notes = tuner.state()
            save_state(folder, state, notes | {"recipe": whole})

    arrays, indices, quantizer = fine_tune(tuner, watch)
    return Quantized(Network(graph, arrays), indices, quantizer)


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()


def _provenance(recipe: CompressionRecipe, notes: dict[str, Any]) -> dict[str, str]:
    provenance: dict[str, str] = {key: str(notes[key]) for key in ("seed", "epochs", "hours") if key in notes}
    if recipe.images is not None:
        provenance["images"] = recipe.images
    return provenance | recipe.provenance


def summary(model: DualModel, out: Path) -> dict[str, Any]:
    """What ``accelsim compress --json`` prints."""
    return {
        "file": str(out),
        "file_bytes": model.file_bytes,
        "parameters": model.parameters,
        "compression_ratio": 4 * model.parameters / model.file_bytes,
        "accuracy": dict(model.accuracy),
    }
