"""``accelsim compress``: from a checkpoint to a ``.dual`` file by a recipe.

Prune and quantize, fine-tune codebook and batch-norm, fold, calibrate, code, write, measure on the
test images in both domains.
"""

import hashlib
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats, Levels
from accelsim.compression.accuracy import measure
from accelsim.compression.budget import OfMachine
from accelsim.compression.codebook import Tuner, Tuning, fine_tune
from accelsim.compression.correct import corrected_biases
from accelsim.compression.loss import card_images, say_accuracy, say_errors, weight_errors
from accelsim.compression.quantize import (
    Quantized,
    compressed_network,
    quantize,
    spatial_threshold,
    winograd_threshold,
)
from accelsim.compression.ratedistortion import Trial, search_cells
from accelsim.compression.recipe import CompressionRecipe
from accelsim.compression.rounding import EXACT, Rounded, Zeros, fitted, with_zeros, zeros_of_filters
from accelsim.compression.task import CompressionTask, Say, in_coarser_cells, read_task
from accelsim.dual.file import CompressedNetwork, decode_dual, encode_dual, with_accuracy
from accelsim.dual.manifest import weight_names
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.faults import nearest
from accelsim.files import check_output, write_bytes
from accelsim.network.graph import Network
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.keeping import Made, keeping
from accelsim.sparsity.reconstruction import is_refitted
from accelsim.training.checkpoint import STATE, relative_cells
from accelsim.training.datasets import resolve

# Of 2,000 CIFAR-10 images the ResNet-20 of checkpoints/resnet20-joint answers 87.95 % rightly, and
# 87.50, 87.40 and 87.65 % with cells of 0.15, 0.1 and 0.07: finer ones only make larger files.
RELATIVE_CELL = 0.15
# Where a file misses a budget by some percent, cells are made coarser by so many times that: of a
# tenth of a cell some four percent of the bits depend, and far fewer multiplies.
COARSER = 4
FIGURES_BYTES = 100  # of the accuracy in a file, which is measured last


@dataclass(frozen=True)
class _Coded:
    """A file as it is coded, nothing measured."""

    content: bytes
    model: DualModel
    quantized: Quantized


def compress_checkpoint(
    checkpoint: Path,
    out: Path,
    recipe: CompressionRecipe,
    log: Say | None = None,
    resume: bool = False,
    of_machine: OfMachine | None = None,
) -> DualModel:
    """Compress a checkpoint into the ``.dual`` file ``out``; return what that decodes to.

    checkpoint: a folder of ``accelsim train``, or a safetensors, .npz or ONNX file.
    log: called with a line of progress.  resume: go on with the fine-tuning or the rounding that
    was interrupted on its way to ``out`` (its state is in ``out``.tuning or ``out``.rounding until
    the file is written).  of_machine: what a machine's budget is told by, where the checkpoint was
    reconstructed to one.
    In cells by budget, a file that misses one is made again in coarser cells.
    Raises InputError if the checkpoint, the recipe, the data or the state do not fit together.
    """
    if out.suffix != ".dual":
        raise InputError(f"{out}: ending {out.suffix!r}, expected .dual")
    rounded = None if recipe.rounded is None else resolve(recipe.rounded)
    check_output(out, rounded, None if recipe.reference is None else recipe.reference.network)
    task = read_task(checkpoint, out, recipe, log or (lambda _: None), of_machine)
    with task.rounding.alone() if recipe.tune is not None or recipe.fit is not None else nullcontext():
        return _compressed(task, checkpoint, out, resume)


def _compressed(task: CompressionTask, checkpoint: Path, out: Path, resume: bool) -> DualModel:
    """As ``compress_checkpoint``."""
    recipe = task.recipe
    tries = [task]

    def at(strain: Floats) -> Made[_Coded]:
        if strain.max(initial=1) > 1:
            tries.append(in_coarser_cells(task, out, float(strain.max()) ** COARSER, len(tries) + 1))
        return _made(tries[-1], checkpoint, out, resume)

    coded = keeping(at, task.budgets.count, task.say)
    coded.warn(task.say)
    model = coded.thing.model
    content = coded.thing.content
    if task.images.test is not None:
        accuracy = measure(model, task.images.test, task.reference, recipe.workers)
        content = with_accuracy(content, accuracy)
        figures = ", ".join(f"{name} {value:.2f}" for name, value in accuracy.items())
        task.say(f"{figures}; with these {_size(len(content), model.parameters)}")
        sha256 = hashlib.sha256(content).hexdigest()
        model = replace(model, accuracy=accuracy, file_bytes=len(content), sha256=sha256)
    elif (own := card_images(task.notes, task.network.graph)) is not None:
        say_accuracy(measure(model, own, task.network, recipe.workers), len(own), task.say)
    else:
        say_errors(weight_errors(task.network, coded.thing.quantized.network), task.say)
    write_bytes(out, content)
    for tried in tries:
        tried.tuning.remove()
        tried.rounding.remove()
    return model


def _size(file_bytes: int, parameters: int) -> str:
    """A file's size, and how many times larger its parameters are in float32."""
    return f"{file_bytes} bytes, {4 * parameters / file_bytes:.2f}x"


def _made(task: CompressionTask, checkpoint: Path, out: Path, resume: bool) -> Made[_Coded]:
    """The file, and what it has of its budgets.

    Raises InputError if a cell is too small, or the state is of something else.
    """
    try:
        quantized = _quantized(task)
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{checkpoint}: {error}") from None
    if task.recipe.tune is not None:
        quantized = _tuned(task, quantized, resume)
    content = encode_dual(_rounded(task, quantized, resume))
    model = decode_dual(content, str(out))
    task.say(f"{out}: {_size(model.file_bytes, model.parameters)}")
    measured = 0 if task.images.test is None else FIGURES_BYTES
    whole = replace(model, file_bytes=model.file_bytes + measured)
    return Made(_Coded(content, model, quantized), task.budgets.shares(whole))


def _quantized(task: CompressionTask) -> Quantized:
    """The network pruned in the spatial domain and quantized.

    Raises ValueError if a cell is too small.
    """
    theta = spatial_threshold(task.network, task.spatial)
    cell, cells = _cells(task, theta)
    if task.recipe.search is not None:
        task.say("cells: " + ", ".join(f"{name} {value:.4g}" for name, value in cells.items()))
    return quantize(task.network, cell, theta, cells=cells, seed=task.recipe.dither)


def _rounded(task: CompressionTask, quantized: Quantized, resume: bool) -> CompressedNetwork:
    """The quantized network as a file takes it.

    Rounded anew, and its biases corrected, if the recipe says so.
    """
    recipe = task.recipe
    images = task.images
    zeros: Zeros = {}
    if recipe.hold:
        zeros = zeros_of_filters(task.network, task.tiles, task.winograd, quantized.quantizer)
        alone = {layer: own for layer, own in zeros.items() if recipe.fit is None or not _is_fitted(task, layer)}
        quantized = with_zeros(quantized, task.network, alone)
    if recipe.fit is not None:
        quantized = _fitted(task, quantized, zeros, resume)
    theta_wd = winograd_threshold(quantized.network, task.tiles, task.winograd)
    if recipe.hold:
        theta_wd = max(theta_wd, EXACT * min(quantized.quantizer.cells.values()))
    calibration = None if recipe.data is None else images.first(recipe.calibration)
    if recipe.correct and calibration is not None:
        biases = corrected_biases(task.network, quantized.network, calibration)
        arrays = {**quantized.network.arrays, **biases}
        quantized = replace(quantized, network=Network(task.network.graph, arrays))
    return compressed_network(
        quantized,
        winograd_m=task.tiles,
        winograd_threshold=theta_wd,
        calibration=calibration,
        value_bits=recipe.value_bits,
        provenance=_provenance(recipe, task.notes),
    )


def _fitted(task: CompressionTask, quantized: Quantized, zeros: Zeros, resume: bool) -> Quantized:
    """The network rounded by its layers' outputs.

    Stopped in any way it goes on after the last layer that the state beside ``out`` has, if resume.
    """
    recipe = task.recipe
    assert recipe.fit is not None
    state = task.rounding.begin(resume)
    arrays: dict[str, NDArray[Any]] = {} if state is None else dict(state[0])
    done = len(task.held) if state is None else _layers_done(task, state[1])
    started = time.perf_counter()
    if state is not None:
        task.say(f"going on after {done} of {len(quantized.indices)} layers")

    def add(layer: str, indices: Levels, bias: Array | None) -> None:
        nonlocal done, started
        arrays[f"{layer}.weight"] = indices
        if bias is not None:
            arrays[f"{layer}.bias"] = bias
        done += 1
        task.rounding.save(arrays, {"layers": done})
        seconds = time.perf_counter() - started
        task.say(f"rounded layer {done} of {len(quantized.indices)}, {layer}: {seconds:.1f} s")
        started = time.perf_counter()

    held = {name: quantized.indices[name] for name in task.held}
    rounded = Rounded(
        indices=held | {name: array for name, array in arrays.items() if name in quantized.indices},
        biases={name: array for name, array in arrays.items() if name not in quantized.indices},
        add=add,
    )
    images = task.images.drawn(recipe.fit)
    return fitted(quantized, task.network, zeros, images, recipe.bit_price, rounded)


def _is_fitted(task: CompressionTask, layer: str) -> bool:
    return is_refitted(task.network.graph.node(layer))


def _cells(task: CompressionTask, theta: float) -> tuple[float, dict[str, float]]:
    """D, and D of the arrays that have their own.  theta: theta_SD.

    Where the recipe says nothing, D follows from the weights; that of an array without weights
    makes no difference.  Raises ValueError if the recipe names an array that the network has not.
    """
    recipe = task.recipe
    names = weight_names(task.network.graph)
    for name in recipe.cells:
        if name not in names:
            raise ValueError(f"recipe, key cells: no weights {name[:60]!r}{nearest(name, names)}")
    cell = recipe.cell or theta or 1.0
    cells = dict(recipe.cells)
    for name, relative in _relative_cells(task, theta).items():
        w = task.network.arrays[name]
        w = w[np.abs(w) > theta].astype(np.float64)
        if w.size:
            cells.setdefault(name, recipe.coarser * relative * float(np.sqrt((w**2).mean())))
    if recipe.search is not None:
        trial = Trial(
            network=task.network,
            images=task.images.first(recipe.search.images),
            threshold=theta,
            tiles=task.tiles,
            winograd_sparsity=task.winograd,
            correct=recipe.correct,
        )
        tried = {name: cells.get(name, cell) for name in names}
        cells = search_cells(trial, tried, recipe.search.factors) | recipe.cells
    return cell, cells | task.held


def _relative_cells(task: CompressionTask, theta: float) -> dict[str, float]:
    """D of some arrays, as a multiple of the root mean square of their weights that are not zero.

    theta: theta_SD.  Raises ValueError if a budget should give them and the checkpoint knows none.
    """
    recipe = task.recipe
    relative = recipe.relative_cell
    tuned = recipe.tune is not None and theta > 0
    if relative is None and recipe.cell is None and not tuned:
        relative = RELATIVE_CELL
    names = weight_names(task.network.graph)
    if relative is None:
        return {}
    if relative != "budget":
        return dict.fromkeys(names, relative)
    found = relative_cells(task.notes)
    if not found:
        raise ValueError("states no relative_cells, expected weights reconstructed to a budget")
    return {name: found[name] for name in names if name in found}


def _tuned(task: CompressionTask, quantized: Quantized, resume: bool) -> Quantized:
    """The network fine-tuned.

    Stopped in any way it goes on from the state beside ``out``, if resume.
    """
    recipe = task.recipe
    settings = recipe.tune
    assert settings is not None
    assert recipe.data is not None
    assert task.images.train is not None
    tuning = Tuning(
        **settings.model_dump(exclude={"checkpoint_steps"}),
        winograd_sparsity=task.winograd,
        crop=recipe.data.crop,
        flip=recipe.data.flip,
        workers=recipe.workers,
    )
    regularizer = JointRegularizer(task.network.graph, {"default": 0} | task.tiles)
    tuner = Tuner(task.network, quantized, task.images.train, tuning, regularizer, task.reference)
    state = task.tuning.begin(resume)
    if state is not None:
        try:
            tuner.restore(*state)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{task.tuning.folder / STATE}: {error}, expected the state of this recipe") from None

    def watch(step: int, loss: float) -> None:
        if step % 20 == 0 or step == tuning.steps:
            task.say(f"fine-tuning step {step} of {tuning.steps}: loss {loss:.4f}")
        if step % settings.checkpoint_steps == 0:
            task.tuning.save(*tuner.state())

    return fine_tune(tuner, watch)


def _layers_done(task: CompressionTask, notes: dict[str, Any]) -> int:
    """How many layers a state has rounded.  Raises InputError if it does not say so."""
    done = notes.get("layers")
    if not isinstance(done, int) or isinstance(done, bool):
        raise InputError(f"{task.rounding.folder / STATE}: layers {done!r}, expected a number of layers")
    return done


def _provenance(recipe: CompressionRecipe, notes: dict[str, Any]) -> dict[str, str]:
    provenance: dict[str, str] = {key: str(notes[key])[:1000] for key in ("seed", "epochs", "hours") if key in notes}
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
