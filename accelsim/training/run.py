"""``accelsim train``: from a recipe file to a folder with a checkpoint to compress.

A log and a state that a stopped run goes on from stand beside it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from accelsim.arrays import Array, Ints
from accelsim.errors import InputError, NumericalError
from accelsim.faults import nearest
from accelsim.files import alone_in, check_folder, write_text
from accelsim.network.graph import Graph, Network
from accelsim.sparsity.initial_zeros import initial_patterns, projected
from accelsim.sparsity.joint import JointRegularizer, spatial_layers
from accelsim.sparsity.moving import MovingZeros, zeros_by_goal
from accelsim.sparsity.recipe import Joint
from accelsim.sparsity.reconstruction import Goals, LayerReport, reconstruct
from accelsim.sparsity.zero_patterns import ZeroPattern
from accelsim.training import checkpoint
from accelsim.training.datasets import Source, resolve
from accelsim.training.first_weights import start_arrays
from accelsim.training.log import TrainingLog
from accelsim.training.measured import measured
from accelsim.training.named import RecipeParts
from accelsim.training.networks import is_file
from accelsim.training.pricelist import PriceList
from accelsim.training.prices import Grid, PricingImages, measure
from accelsim.training.progress import Watch, progress_bar, show_layer, show_line, show_prices
from accelsim.training.recipe import Recipe, load_recipe
from accelsim.training.superresolution import (
    TEST,
    Patches,
    Photographs,
)
from accelsim.training.tail import Features, features
from accelsim.training.to_budget import BudgetTask, MachineBudgets
from accelsim.training.trainer import StepReport, Trainer

LOG = "log.csv"
LAYERS = "reconstruction.csv"
PRICES = "prices.json"
LAYER_COLUMNS = tuple(field.name for field in fields(LayerReport))


def train_recipe(path: Path, out: Path, resume: bool = False, machines: MachineBudgets | None = None) -> dict[str, Any]:
    """Train as the recipe says; return the finished checkpoint's card (``checkpoint.json``).

    out: the run's folder.  resume: go on from the state in it, or from the prices of its layers
    measured so far.  machines: what a machine's budget is told by, where the recipe has one.
    Raises InputError for a bad recipe, missing data or another run's state; NumericalError if the
    loss is not finite.
    """
    check_folder(out)
    recipe = load_recipe(path)
    run = Run(recipe, path, out, machines)
    with alone_in(out, "another training"):
        goes_on = resume and ((out / checkpoint.STATE).exists() or not (out / PRICES).exists())
        if goes_on:
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
    length = f"{card['epochs']:g} epochs, {card['hours']:.2f} h"
    lines = [f"{card['network']}: {length}, {card['images']} test images"]
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


def _check_layers(recipe: Recipe, graph: Graph, path: Path) -> None:
    """Raise InputError if the recipe names a layer that the network does not have."""
    joint = recipe.joint or Joint()
    known = spatial_layers(graph)
    for key, names in (("tiles", joint.tiles.keys() - {"default"}), ("exclude", joint.exclude)):
        if unknown := sorted(set(names) - set(known)):
            missing = f"{path}: joint.{key}: {graph.name} has no layer {unknown[0]!r} with weights"
            raise InputError(f"{missing}{nearest(unknown[0], known)}")


class Run:
    """One training run in one folder."""

    def __init__(self, recipe: Recipe, path: Path, out: Path, machines: MachineBudgets | None = None):
        self.recipe = recipe
        self.machines = machines
        self.path = path
        self.out = out
        parts = RecipeParts(recipe, path)
        self.graph = parts.graph
        _check_layers(recipe, self.graph, path)
        arrays = parts.first_arrays()
        teacher = parts.teacher()
        self.sources: dict[str, Mapping[str, Array]] = {}  # what the run has from files, by what it is
        if recipe.start not in (None, "identity") or is_file(recipe.network):
            self.sources["start"] = dict(arrays)
        if teacher is not None:
            self.sources["teacher"] = teacher.arrays
        images: Source | Patches | Features
        images, self.test = parts.images()
        patterns: dict[str, ZeroPattern] = {}
        if recipe.joint is not None and recipe.joint.hold:
            patterns = initial_patterns(self.graph, arrays, recipe.joint)
            arrays = projected(arrays, patterns)
        graph = self.graph
        self.fixed: dict[str, Array] = {}  # the arrays of the layers that are not trained
        if recipe.train_from is not None and not isinstance(images, Patches | Features):
            head, graph = parts.split(recipe.train_from)
            self.fixed = {name: arrays[name] for name in head.parameters} | parts.rounded_head(head)
            if recipe.epochs:
                hint = None if recipe.teacher is None else recipe.teacher.hint
                fixed = Network(head, self.fixed)
                images = features(fixed, images, recipe.data.flip, teacher, recipe.threads, hint)
            patterns = {name: pattern for name, pattern in patterns.items() if name in graph.parameters}
            teacher = None
        network = Network(graph, {name: arrays[name] for name in graph.parameters})
        self.cells: dict[str, float] = {}  # of weight arrays, as a budget gave them
        if patterns and recipe.start is not None:
            self.cells = checkpoint.cells_beside(resolve(recipe.start))
        moving = None if recipe.joint is None else self._moving(recipe.joint, network)
        self.trainer = Trainer(recipe, network, images, teacher, patterns, moving)
        self.digest = checkpoint.digest_of(**self.sources)
        self.sources.clear()
        self.log = TrainingLog(out / LOG)
        self.hours = 0.0

    def _moving(self, joint: Joint, network: Network) -> MovingZeros | None:
        """The zeros that move, if the recipe says so, and how many each layer gets.

        Raises InputError if weights to do so after do not fit.
        """
        if joint.moving is None:
            return None
        regularizer = JointRegularizer(network.graph, joint.tiles, joint.exclude)
        like = None
        if joint.moving.like is not None:
            path = resolve(joint.moving.like)
            like = start_arrays(self.graph, path)
            self.sources["like"] = like
            self.cells = checkpoint.cells_beside(path)
        return MovingZeros(regularizer, zeros_by_goal(regularizer, network.arrays, joint, like))

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
        if notes.get("weights", self.digest) != self.digest:  # older states do not say
            raise InputError(
                f"{where}: the state of a run from other weights than {self.path} names now (start, network, teacher "
                "or joint.moving.like), expected the files that it began with"
            )
        try:
            self.trainer.restore(arrays, notes)
            self.cells = checkpoint.relative_cells(notes)
            self.hours = float(notes["hours"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{where}: {error}, expected the state of this run") from None
        self.log.resume(self.trainer.done)

    def prepare(self, watch: Callable[[LayerReport], None] | None = None) -> None:
        """What the recipe wants done to the first weights.

        watch: called after each reconstructed layer.
        """
        if self.recipe.reconstruction is not None:
            self.reconstruct(watch)

    def reconstruct(self, watch: Callable[[LayerReport], None] | None = None) -> None:
        """Make the first weights sparse layer by layer, as the recipe says.

        watch: called after each layer.
        """
        settings = self.recipe.reconstruction
        joint = self.recipe.joint
        assert settings is not None
        assert joint is not None
        started = time.perf_counter()
        rows = {"name": LAYER_COLUMNS}

        def note(report: LayerReport) -> None:
            row = tuple(f"{value:.5g}" if isinstance(value, float) else value for value in astuple(report))
            rows[report.name] = row
            write_text(self.out / LAYERS, "".join(",".join(row) + "\n" for row in rows.values()))
            if watch is not None:
                watch(report)

        source = self.trainer.images
        assert not isinstance(source, Features)

        def take(index: Ints) -> Array:
            pixels = source.pairs(index)[0] if isinstance(source, Patches) else source.take(index)
            return self.graph.preprocessing.apply(pixels)

        index = np.random.default_rng(settings.seed).permutation(len(source))
        images = take(index[: settings.images])
        goals: Goals = (joint.spatial * (joint.mode != "wd"), joint.winograd * (joint.mode != "sd"))
        regularizer = JointRegularizer(self.graph, joint.tiles, joint.exclude)
        network = Network(self.graph, self.trainer.model())
        if settings.budget is not None:
            apart = index[settings.images :][-settings.budget.images :]
            if len(apart) < settings.budget.images:
                raise InputError(
                    f"{self.path}: key reconstruction.budget.images: {settings.budget.images} beside the "
                    f"{settings.images} of reconstruction.images, expected at most {len(index)} together"
                )
            found = self._to_budgets(network, PricingImages(images, take(apart)), regularizer, note)
        else:
            found = reconstruct(network, images, regularizer, goals, settings, note)
        self.trainer.replace(found)
        self.hours = (time.perf_counter() - started) / 3600
        self._save_state()

    def _to_budgets(
        self,
        network: Network,
        calibration: PricingImages,
        regularizer: JointRegularizer,
        watch: Callable[[LayerReport], None],
    ) -> dict[str, Array]:
        """The arrays reconstructed to the budgets; the layers' cells are noted.

        Layers that the folder has prices of are not measured again.  Raises InputError if the
        budgets cannot be kept.
        """
        settings = self.recipe.reconstruction
        assert settings is not None
        assert settings.budget is not None
        machine = None
        if settings.budget.machine is not None:
            if self.machines is None:
                raise InputError(f"{self.path}: key reconstruction.budget.machine: expected `accelsim train`")
            try:
                machine = self.machines(network, regularizer, settings, calibration.images)
            except InputError as error:
                raise InputError(f"{self.path}: key reconstruction.budget: {error}") from None
        pixels = {"fit": calibration.images, "apart": calibration.apart}
        prices = PriceList(self.out / PRICES, self.recipe, checkpoint.digest_of(start=network.arrays, images=pixels))

        def note(layer: str, grid: Grid) -> None:
            prices.add(layer, grid)
            show_prices(layer, grid)

        points = measure(network, calibration, regularizer, settings, dict(prices.grids), note)
        task = BudgetTask(network, calibration.images, points, regularizer, settings, machine)
        try:
            found = task.reconstructed(watch, show_line)
        except ValueError as error:
            raise InputError(f"{self.path}: key reconstruction.budget: {error}") from None
        self.cells = found.cells
        return found.arrays

    def train(self, watch: Watch | None = None) -> dict[str, Any]:
        """Train to the end.

        The model is measured and written after every epoch, the state more often if asked for.

        watch: called with each report and images/s.
        """
        # the recipe's threads multiply, each alone; numbers that are not finite are looked for in every step
        with threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
            return self._train(watch)

    def _train(self, watch: Watch | None) -> dict[str, Any]:
        trainer = self.trainer
        recipe = self.recipe
        started = time.perf_counter()
        first = trainer.done
        hours_before = self.hours
        card: dict[str, Any] = {}
        every = recipe.checkpoint_steps or trainer.steps_per_epoch
        while trainer.done < trainer.end:
            try:
                report = self._step(every)
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
                self._write_log(report, speed)
            if trainer.done % trainer.steps_per_epoch == 0 or trainer.done == trainer.end:
                card = self._save(final=trainer.done == trainer.end)
            elif trainer.done % every == 0:
                self._save_state()
        return card or self._save(final=True)

    def _step(self, every: int) -> StepReport:
        """One step; what it leaves is finite where it is to be kept.  every: steps between states."""
        trainer = self.trainer
        report = trainer.step()
        if not all(trainer.done % steps for steps in (every, trainer.steps_per_epoch)) or trainer.done == trainer.end:
            trainer.check_weights()
        return report

    def _write_log(self, report: StepReport, images_per_s: float) -> None:
        epoch = (report.step - 1) // self.trainer.steps_per_epoch
        self.log.add(report, epoch, 3600 * self.hours, self.trainer.sparsity_targets(), images_per_s)

    def _save(self, final: bool) -> dict[str, Any]:
        """Write the model and last the state; the model's card.

        final: measured on all test images, not on some.
        """
        trainer = self.trainer
        recipe = self.recipe
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
        try:
            network = Network(self.graph, arrays)
        except ValueError as error:  # statistics that are not finite
            raise NumericalError(f"{self.path}: step {trainer.done}: {error}") from None
        card |= measured(recipe, network, images, self.cells)
        checkpoint.save_model(self.out, arrays, card)
        self._save_state()
        return card

    def _save_state(self) -> None:
        """Write what a resumed run goes on from."""
        state, notes = self.trainer.state()
        notes = notes | {"recipe": self.recipe.model_dump(mode="json"), "hours": self.hours, "weights": self.digest}
        if self.cells:
            notes["relative_cells"] = self.cells
        checkpoint.save_state(self.out, state, notes)
