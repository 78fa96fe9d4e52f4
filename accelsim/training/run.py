"""``accelsim train``: from a recipe file to a folder with a log, a resumable state, and a checkpoint to compress."""

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from accelsim.compression.joint import JointRegularizer
from accelsim.errors import InputError, NumericalError
from accelsim.faults import nearest
from accelsim.files import write_text
from accelsim.network.graph import INPUT, Graph, Network
from accelsim.network.layers import BatchNorm, Conv, Relu
from accelsim.network.weights import load_network, read_weights
from accelsim.network.zoo import named_graph
from accelsim.training import checkpoint
from accelsim.training.datasets import Source, load_split, resolve
from accelsim.training.evaluate import in_both_domains, top1
from accelsim.training.hold import exact_shares, held_zeros, projected
from accelsim.training.kernels import Array
from accelsim.training.prices import Point, Points, as_plain, chosen, measure
from accelsim.training.progress import Watch, progress_bar, show_layer, show_prices
from accelsim.training.psnr import bicubic_psnr, psnr_by_set, psnr_in_both_domains
from accelsim.training.recipe import Recipe, load_recipe
from accelsim.training.reconstruction import LayerReport, reconstruct
from accelsim.training.superresolution import (
    TEST,
    Patches,
    Photographs,
    photographs,
    super_resolver,
    training_patches,
)
from accelsim.training.tail import Features, features, split
from accelsim.training.trainer import StepReport, Trainer

LOG = "log.csv"
LAYERS = "reconstruction.csv"
PRICES = "prices.json"
LAYER_COLUMNS = tuple(field.name for field in fields(LayerReport))
COLUMNS = (
    *("step", "epoch", "seconds", "loss", "accuracy", "rate", "s_sd", "s_wd", "sparsity_sd", "sparsity_wd"),
    *("R_sd", "R_wd", "theta_sd", "theta_wd", "coefficient_sd", "coefficient_wd", "images_per_s"),
)


def train_recipe(path: Path, out: Path, resume: bool = False) -> dict[str, Any]:
    """Train as the recipe says; return the finished checkpoint's card (``checkpoint.json``).

    out: the run's folder.  resume: go on from the state in it.
    Raises InputError for a bad recipe, missing data or another run's state; NumericalError if the loss is not finite.
    """
    recipe = load_recipe(path)
    run = Run(recipe, path, out)
    if resume and ((out / checkpoint.STATE).exists() or not (out / PRICES).exists()):
        run.resume()
    elif (out / checkpoint.STATE).exists():
        raise InputError(f"{out}: already holds a run, expected --resume or another folder")
    else:
        run.prepare(show_layer)
    unit = "dB" if isinstance(run.test, Photographs) else "%"
    with progress_bar(run.trainer.end, run.trainer.done, unit) as watch:
        return run.train(watch)


def summary(card: dict[str, Any], out: Path) -> str:
    """A few lines that say what a finished run reached and where it lies."""
    lines = [f"{card['network']}: {card['epochs']:g} epochs, {card['hours']:.2f} h, {card['images']} test images"]
    names = {
        "bicubic": "enlarged only",
        "unpruned": "as trained",
        "spatial": "pruned in the spatial domain",
        "winograd": "pruned in the Winograd domain",
    }
    sparsity = {"spatial": card.get("sparsity_sd"), "winograd": card.get("sparsity_wd")}
    for key, figure in (card.get("accuracy") or card["psnr"]).items():
        target = sparsity.get(key)
        share = "" if target is None else f" to {100 * target:g} % zeros"
        reached = f"top-1 {figure:.2f} %" if "accuracy" in card else _in_db(figure)
        lines.append(f"  {names[key] + share:<50} {reached}")
    return "\n".join([*lines, f"checkpoint: {out / checkpoint.MODEL}"])


def _in_db(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f} dB" for name, value in figures.items())


def find_network(name: str, source: str) -> Graph:
    """The zoo's graph of that name.  Raises InputError that begins with the source of the name."""
    try:
        return named_graph(name)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def initial_arrays(graph: Graph, seed: int) -> dict[str, Array]:
    """Random first weights: He et al. 2015 (normal, fan out) for convolutions, 1 and 0 for batch-norm."""
    rng = np.random.default_rng(seed)
    arrays = {}
    norms = {node.name for node in graph.nodes if isinstance(node.layer, BatchNorm)}
    for name, shape in graph.parameters.items():
        node, _, key = name.rpartition(".")
        if key == "weight" and len(shape) == 4:
            scale = np.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            arrays[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
        elif key == "weight" and len(shape) == 2:
            arrays[name] = rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(shape[1]))
        else:
            one = key == "running_var" or (key == "weight" and node in norms) or (key == "weight" and len(shape) == 1)
            arrays[name] = np.full(shape, one, np.float32)
    return arrays


def identity_arrays(graph: Graph, seed: int) -> dict[str, Array]:
    """Random first weights, but the first channel of every convolution hands on the first channel of its input.

    The last convolution does only that, so that the network starts as the identity wherever its input is not negative.
    Raises InputError if the network is not one chain of convolutions.
    """
    convs = [node.name for node in graph.nodes if isinstance(node.layer, Conv)]
    if not convs or not all(isinstance(node.layer, Conv | Relu) for node in graph.nodes):
        raise InputError(f"start: identity, expected a network of convolutions and ReLU only, got {graph.name}")
    arrays = initial_arrays(graph, seed)
    for name in convs:
        w = arrays[f"{name}.weight"]
        w[:1] = 0
        w[0, 0, w.shape[2] // 2, w.shape[3] // 2] = 1
    return arrays


def start_arrays(graph: Graph, path: Path) -> dict[str, Array]:
    """The graph's arrays from a .safetensors or .npz file; 1 x 1 convolutions that it lacks, with their batch-norm,
    start as the identity (the projection that arXiv:1902.08192 adds to ResNet-18).

    Raises InputError if any other array is missing or an array does not fit.
    """
    arrays = read_weights(path)
    identities = {
        node.name
        for node in graph.nodes
        if isinstance(node.layer, Conv) and node.layer.kernel == (1, 1) and f"{node.name}.weight" not in arrays
    }
    identities |= {
        node.name for node in graph.nodes if isinstance(node.layer, BatchNorm) and identities.issuperset(node.inputs)
    }
    for name, shape in graph.parameters.items():
        node, _, key = name.rpartition(".")
        if node in identities and name not in arrays:
            square = key == "weight" and len(shape) == 4
            one = key in ("weight", "running_var")
            arrays[name] = np.eye(*shape[:2], dtype=np.float32).reshape(shape) if square else np.full(shape, one, "f4")
    try:
        return dict(Network(graph, arrays).arrays)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _cells_beside(weights: Path) -> dict[str, float]:
    """The relative cells that a checkpoint's card states."""
    card = weights.with_name(checkpoint.CARD)
    if weights.name != checkpoint.MODEL or not card.exists():
        return {}
    cells: dict[str, float] = json.loads(card.read_text(encoding="utf-8")).get("relative_cells", {})
    return cells


def check_hint(name: str, graph: Graph, teacher: Graph, path: Path) -> None:
    """Raise InputError unless both networks have such a node, of one shape."""
    for network in (graph, teacher):
        if name not in network.shapes or name == INPUT:
            close = nearest(name, network.shapes)
            raise InputError(f"{path}: key teacher.hint: {network.name} has no node {name!r}{close}")
    if graph.shapes[name] != teacher.shapes[name]:
        raise InputError(
            f"{path}: key teacher.hint: node {name!r} is {teacher.shapes[name]} in the teacher, "
            f"expected {graph.shapes[name]} as in {graph.name}"
        )


class Run:
    """One training run in one folder."""

    def __init__(self, recipe: Recipe, path: Path, out: Path):
        self.recipe, self.path, self.out = recipe, path, out
        self.graph = find_network(recipe.network, f"{path}: key network")
        data = recipe.data
        if data.kind == "super_resolution":
            self.graph = super_resolver(self.graph, data.patch, f"{path}: key network")
        if recipe.start is None:
            arrays = initial_arrays(self.graph, recipe.seed)
        elif recipe.start == "identity":
            arrays = identity_arrays(self.graph, recipe.seed)
        else:
            arrays = start_arrays(self.graph, resolve(recipe.start))
        teacher, hint = None, None
        if recipe.teacher is not None:
            hint = recipe.teacher.hint
            teacher_graph = find_network(recipe.teacher.network, f"{path}: key teacher.network")
            if data.kind == "super_resolution":
                teacher_graph = super_resolver(teacher_graph, data.patch, f"{path}: key teacher.network")
            teacher = load_network(teacher_graph, resolve(recipe.teacher.weights))
            if hint is not None:
                check_hint(hint, self.graph, teacher_graph, path)
        size, classes = self.graph.input_shape[:2], self.graph.shapes[self.graph.nodes[-1].name][-1]
        self.test: Source | Photographs
        images: Source | Patches | Features
        if data.kind == "super_resolution":
            self.test = photographs(data, resolve(data.path))
            images = training_patches(data, resolve(data.path))
        else:
            self.test = load_split(data, "test", size, classes)
            images = load_split(data, "train", size, classes)
        if len(images) < recipe.batch:
            raise InputError(f"{path}: key batch: {recipe.batch}, expected at most the {len(images)} images")
        held = {}
        if recipe.joint is not None and recipe.joint.hold:
            held = held_zeros(self.graph, arrays, recipe.joint)
            arrays = projected(arrays, held)
        graph, self.fixed = self.graph, {}
        if recipe.train_from is not None and not isinstance(images, Patches):
            try:
                head, graph = split(self.graph, recipe.train_from)
            except ValueError as error:
                raise InputError(f"{path}: key train_from: {error}") from None
            self.fixed = {name: arrays[name] for name in head.parameters}
            if recipe.epochs:
                images = features(Network(head, self.fixed), images, data.flip, teacher, recipe.threads, hint)
            held = {name: zeros for name, zeros in held.items() if name in graph.parameters}
            teacher = None
            if hint is not None and hint not in graph.shapes:
                raise InputError(
                    f"{path}: key teacher.hint: {hint!r} comes before {recipe.train_from!r}, expected a node after"
                )
        self.trainer = Trainer(recipe, graph, arrays, images, teacher, held=held)
        self.cells = _cells_beside(resolve(recipe.start)) if held and recipe.start is not None else {}
        self.rows: list[dict[str, Any]] = []
        self.hours = 0.0

    def resume(self) -> None:
        """Continue from the state in the folder."""
        arrays, notes = checkpoint.load_state(self.out)
        where = self.out / checkpoint.STATE
        try:
            same = Recipe.model_validate(notes.get("recipe")) == self.recipe
        except ValidationError:
            same = False
        if not same:
            raise InputError(f"{where}: the state of another recipe, expected one of {self.path}")
        try:
            self.trainer.restore(arrays, notes)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        self.hours = float(notes["hours"])
        self.cells = notes.get("relative_cells", {})
        log = self.out / LOG
        if log.exists():
            with log.open(newline="", encoding="utf-8") as stream:
                self.rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= self.trainer.done]

    def prepare(self, watch: Callable[[LayerReport], None] | None = None) -> None:
        """What the recipe wants done to the first weights.  watch: called after each reconstructed layer."""
        if self.recipe.reconstruction is not None:
            self.reconstruct(watch)

    def reconstruct(self, watch: Callable[[LayerReport], None] | None = None) -> None:
        """Make the first weights sparse layer by layer, as the recipe says.  watch: called after each layer."""
        settings, joint = self.recipe.reconstruction, self.recipe.joint
        assert settings is not None
        assert joint is not None
        started, rows = time.perf_counter(), [LAYER_COLUMNS]

        def note(report: LayerReport) -> None:
            rows.append(tuple(f"{value:.5g}" if isinstance(value, float) else value for value in astuple(report)))
            write_text(self.out / LAYERS, "".join(",".join(row) + "\n" for row in rows))
            if watch is not None:
                watch(report)

        source = self.trainer.images
        assert not isinstance(source, Features)
        index = np.random.default_rng(settings.seed).permutation(len(source))

        def take(some: NDArray[np.int64]) -> Array:
            pixels = source.pairs(some)[0] if isinstance(source, Patches) else source.take(some)
            return self.graph.preprocessing.apply(pixels)

        sparsity = (joint.spatial * (joint.mode != "wd"), joint.winograd * (joint.mode != "sd"))
        regularizer = JointRegularizer(self.graph, joint.tiles, joint.exclude)
        network = Network(self.graph, self.trainer.model())
        images, shares = take(index[: settings.images]), None
        if settings.budget is not None:
            apart = index[settings.images :][-settings.budget.images :]
            if len(apart) < settings.budget.images:
                raise InputError(
                    f"{self.path}: key reconstruction.budget.images: {settings.budget.images} beside the "
                    f"{settings.images} of reconstruction.images, expected at most {len(index)} together"
                )
            points = self._points(network, images, take(apart), regularizer)
            shares = self._shares(network, points, regularizer)
        self.trainer.replace(reconstruct(network, images, regularizer, sparsity, settings, note, shares))
        self.hours = (time.perf_counter() - started) / 3600
        self._save_state()

    def _points(self, network: Network, images: Array, apart: Array, regularizer: JointRegularizer) -> Points:
        """Measured layer by layer; those in the folder that this recipe has measured already stay."""
        recipe, where = self.recipe, self.out / PRICES
        settings = recipe.reconstruction
        assert settings is not None
        assert settings.budget is not None
        of = recipe.model_dump(mode="json")
        del of["reconstruction"]["budget"]["ratio"], of["reconstruction"]["budget"]["cost_reduction"]
        content: dict[str, Any] = {"of": of, "layers": {}}
        if where.exists():
            found = json.loads(where.read_text(encoding="utf-8"))
            content = found if found.get("of") == of else content

        def note(layer: str, some: list[list[Point]]) -> None:
            content["layers"] |= as_plain({layer: some})
            write_text(where, json.dumps(content))
            show_prices(layer, some)

        return measure(network, images, apart, regularizer, settings.budget, settings, content["layers"], note)

    def _shares(self, network: Network, points: Points, regularizer: JointRegularizer) -> dict[str, tuple[int, int]]:
        """How many zeros of either domain each layer gets by the budgets."""
        settings = self.recipe.reconstruction
        assert settings is not None
        assert settings.budget is not None
        try:
            taken = chosen(network, points, regularizer, settings.budget)
        except ValueError as error:
            raise InputError(f"{self.path}: key reconstruction.budget: {error}") from None
        self.cells = {f"{name}.weight": price.cell for name, price in taken.items()}
        return {name: (price.zeros_sd, price.zeros_wd) for name, price in taken.items()}

    def train(self, watch: Watch | None = None) -> dict[str, Any]:
        """Train to the end.  The model is measured and written after every epoch, the state more often if asked for.

        watch: called with each report and images/s.
        """
        with threadpool_limits(1, user_api="blas"):  # the recipe's threads multiply, each alone
            return self._train(watch)

    def _train(self, watch: Watch | None) -> dict[str, Any]:
        trainer, recipe = self.trainer, self.recipe
        started, first = time.perf_counter(), trainer.done
        hours_before = self.hours
        card: dict[str, Any] = {}
        every = recipe.checkpoint_steps or trainer.steps_per_epoch
        while trainer.done < trainer.end:
            try:
                report = trainer.step()
            except NumericalError as error:
                last = self.out / checkpoint.STATE
                good = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
                raise NumericalError(f"{self.path}: {error}; {good}") from None
            elapsed = time.perf_counter() - started
            self.hours = hours_before + elapsed / 3600
            speed = (trainer.done - first) * recipe.batch / elapsed
            if watch is not None:
                watch(report, speed)
            if trainer.done % recipe.log_steps == 0 or trainer.done == trainer.end:
                self._log(report, speed)
            if trainer.done % trainer.steps_per_epoch == 0 or trainer.done == trainer.end:
                card = self._save(final=trainer.done == trainer.end)
            elif trainer.done % every == 0:
                self._save_state()
        return card or self._save(final=True)

    def _log(self, report: StepReport, speed: float) -> None:
        s_sd, s_wd = self.trainer.sparsity_targets()
        sd, wd = report.spatial, report.winograd
        values = (
            *(report.step, (report.step - 1) // self.trainer.steps_per_epoch, f"{self.hours * 3600:.1f}"),
            *(f"{report.loss:.5f}", f"{report.accuracy:.2f}", f"{report.rate:.3e}", f"{s_sd:.4f}", f"{s_wd:.4f}"),
            *(f"{penalty.sparsity:.4f}" if penalty else "" for penalty in (sd, wd)),
            *(f"{penalty.value:.4e}" if penalty else "" for penalty in (sd, wd)),
            *(f"{penalty.threshold:.4e}" if penalty else "" for penalty in (sd, wd)),
            *(f"{np.exp(z):.4e}" if p else "" for z, p in ((report.z_sd, sd), (report.z_wd, wd))),
            f"{speed:.1f}",
        )
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.out / LOG, text.getvalue())

    def _save(self, final: bool) -> dict[str, Any]:
        """Write the model and last the state."""
        trainer, recipe = self.trainer, self.recipe
        arrays = self.fixed | (trainer.reestimated(recipe.reestimate) if recipe.reestimate else trainer.model())
        images: Source | Photographs = self.test
        if not final:
            images = images.only(TEST[:1]) if isinstance(images, Photographs) else images.first(recipe.interim_images)
        card: dict[str, Any] = {
            "network": self.graph.name,
            "recipe": recipe.model_dump(mode="json"),
            "seed": recipe.seed,
            "epochs": trainer.done / max(trainer.steps_per_epoch, 1),
            "hours": round(self.hours, 4),
            "images": len(images),
        }
        options: dict[str, Any] = {"workers": recipe.threads}
        regularizer: JointRegularizer | None = None
        thresholds = (0.0, 0.0)
        if recipe.joint is not None:
            regularizer = JointRegularizer(self.graph, recipe.joint.tiles, recipe.joint.exclude)
            targets = recipe.joint.spatial, recipe.joint.winograd
            if recipe.joint.hold == "exact" or (recipe.reconstruction is not None and recipe.reconstruction.budget):
                targets = exact_shares(regularizer, arrays)
            thresholds = regularizer.thresholds(arrays, *targets)
            card |= {"theta_sd": thresholds[0], "theta_wd": thresholds[1], "winograd_m": regularizer.winograd}
            card |= {"sparsity_sd": targets[0], "sparsity_wd": targets[1]}
        if self.cells:
            card["relative_cells"] = self.cells
        if isinstance(images, Photographs):
            card["psnr"] = {"bicubic": bicubic_psnr(images)}
            if regularizer is None:
                card["psnr"]["unpruned"] = psnr_by_set(self.graph, arrays, images, **options)
            else:
                card["psnr"] |= psnr_in_both_domains(self.graph, arrays, images, regularizer, thresholds, **options)
        elif regularizer is None:
            card["accuracy"] = {"unpruned": top1(self.graph, arrays, images, **options)}
        else:
            card["accuracy"] = in_both_domains(self.graph, arrays, images, regularizer, thresholds, **options)
        checkpoint.save_model(self.out, arrays, card)
        self._save_state()
        return card

    def _save_state(self) -> None:
        """Write what a resumed run goes on from."""
        state, notes = self.trainer.state()
        notes = notes | {"recipe": self.recipe.model_dump(mode="json"), "hours": self.hours}
        notes |= {"relative_cells": self.cells} if self.cells else {}
        checkpoint.save_state(self.out, state, notes)
