"""Models in Python as the commands make them.

Taken over, made sparse, trained, compressed, explored, written out.

Each function is the command of its name (``import_file`` is ``accelsim import``,
``explore_network`` is ``accelsim explore``) with the same words; it writes the same files.  All are
found in ``accelsim`` itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from accelsim import shipped
from accelsim.errors import InputError
from accelsim.faults import shown
from accelsim.given import flag, function_of, number_or_none, numbers_or_none, text_or_none, whole_number
from accelsim.loading import Say, machine_of, model_of, path_of, path_or_none, silent

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.compression.importing import Wishes
    from accelsim.dual.model import DualModel
    from accelsim.simulator.machines.machine import Machine


class Said(TypedDict, total=False):
    """What may be said of a network beside its file; each is the command's flag of that name."""

    network: str
    """The zoo's name of the network that a weight file belongs to."""
    input_shape: tuple[int, ...]
    """(C, H, W) of an ONNX file's input, where the file leaves it open."""
    keep_unknown: bool
    """Cost operators that are not known as traffic."""
    name: str
    """What the network is called from now on."""
    mean: tuple[float, ...]
    """Means that are taken from pixels, one for all or one a channel, in units of ``range``."""
    std: tuple[float, ...]
    """What pixels are then divided by."""
    bgr: bool
    """Pixels go in as blue, green, red."""
    range: str
    """What 0..255 becomes first: ``0:1``, ``0:255`` or ``-1:1``."""


def _wishes(said: Said, images: "str | Path | None" = None) -> "Wishes":
    from accelsim.compression.importing import MOST_PIXELS, Wishes

    checked: dict[str, Any] = dict(said)
    for key in {"network", "name", "range"} & said.keys():
        checked[key] = text_or_none(key, checked[key])
    for key in {"mean", "std"} & said.keys():
        checked[key] = numbers_or_none(key, checked[key])
    for key in {"keep_unknown", "bgr"} & said.keys():
        checked[key] = flag(key, checked[key])
    if (shape := said.get("input_shape")) is not None:
        if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 3:
            raise InputError(f"input_shape {shown(shape)}, expected three whole numbers, (C, H, W)")
        checked["input_shape"] = tuple(whole_number("input_shape", size, 1, MOST_PIXELS) for size in shape)
    return Wishes(**checked, images=path_or_none("images", images))


def import_file(
    source: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    say: Say = silent,
    **said: Unpack[Said],
) -> Path:
    """Take over another tool's file, as ``accelsim import``: 8-bit weights, nothing pruned.

    source: ``.onnx``, ``.safetensors``, ``.npz``, ``.pt``, or a SCALE-Sim topology (``.csv``).
    output: the file to write, whose ending says what it becomes: ``.dual``, ``.csv`` (a table of
    layers) or ``.safetensors``.  images: pictures, a folder or an ``.npz`` file, on which
    activation densities are measured; without them activations count as dense.
    say: called with a line on what was found.  said: of ``Said``.  Returns the path written.
    Raises InputError if a file cannot be read, is not sound, or cannot become what is asked for.

    >>> head = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
    >>> with open("topology.csv", "w") as file:
    ...     print(head, "conv1, 34, 34, 3, 3, 3, 16, 1,", sep="\\n", file=file)
    >>> accelsim.load_workload(accelsim.import_file("topology.csv", "net.csv"))
    LayerTable('net', layers: 1, 432 weights, seed 0)
    """
    from accelsim.compression.importing import import_file as run

    function_of("say", say)
    for line in run(path_of("source", source), path_of("output", output), _wishes(said, images)):
        say(line)
    return path_of("output", output)


def sparsify(
    source: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    labels: str | Path | None = None,
    ratio: float | None = None,
    cost_reduction: float | None = None,
    machine: "Machine | str | Path | None" = None,
    latency: str | None = None,
    energy: str | None = None,
    tile: int = 2,
    curve: bool = False,
    resume: bool = False,
    say: Say = silent,
    **said: Unpack[Said],
) -> dict[str, Any]:
    """Make a trained network small and sparse in both domains without training, as ``accelsim sparsify``.

    source: ``.onnx``, ``.safetensors``, ``.npz``, ``.pt`` or ``.dual``.  output: the ``.dual`` file
    to write.
    images: 50 to a few hundred pictures.  labels: a CSV file (``file,label``), to state top-1, too.
    ratio: float32 size over the file's, at least.  cost_reduction: dense MACs over multiplies in
    the Winograd domain, at least; instead of it latency: ``5ms``, or energy: ``200uJ``, at most, of
    an image on the machine, one of ``load_hardware`` or its name.
    tile: m of F(m, r).  curve: other budgets, too.  resume: go on with an interrupted run.
    say: called with a line of progress.  said: of ``Said``.
    Returns what ``--json`` prints: ``file, file_bytes, ratio, cost_reduction, layers`` (a record a
    layer), accuracy.
    Raises InputError if a file cannot be read, or what is asked for cannot be had.
    """
    from accelsim.compression.sparsified import MAX_TILE, Asked
    from accelsim.explore.for_machine import Demand, make_sparse

    function_of("say", say)
    asked = Asked(
        ratio=number_or_none("ratio", ratio),
        cost_reduction=number_or_none("cost_reduction", cost_reduction),
        tile=whole_number("tile", tile, 1, MAX_TILE),
        images=path_or_none("images", images),
        labels=path_or_none("labels", labels),
        curve=flag("curve", curve),
        resume=flag("resume", resume),
    )
    demand = Demand(
        None if machine is None else machine_of(machine),
        text_or_none("latency", latency),
        text_or_none("energy", energy),
    )
    return make_sparse(path_of("source", source), path_of("output", output), _wishes(said), asked, demand, say)


def explore_network(
    source: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    labels: str | Path | None = None,
    resume: bool = False,
    say: Say = silent,
    **said: Unpack[Said],
) -> "pd.DataFrame":
    """Which machine for a network, at which sparsity, and why, as ``accelsim explore``.

    source: ``.onnx``, ``.safetensors``, ``.npz``, ``.pt`` or ``.dual``.  output: a folder for the
    page ``report.html``, ``points.csv`` and the files made.  images, labels, say, said: of
    ``sparsify``.  resume: take what the folder holds.
    Returns a row a file and machine: ``file, machine, chosen, ratio, kept``, the columns of a
    result's total (``cycles``, ``energy_pj``, ...) and the ``command`` that gives them again.
    Raises InputError if the network or the pictures cannot be read, or the folder cannot be
    written.
    """
    import pandas as pd

    from accelsim.compression.sparsified import Asked
    from accelsim.explore.own_network import explore_network as run
    from accelsim.report.explored import ExplorationPages, point_rows

    asked = Asked(
        images=path_or_none("images", images),
        labels=path_or_none("labels", labels),
        resume=flag("resume", resume),
    )
    function_of("say", say)
    folder = path_of("output", output)
    pages = ExplorationPages(folder)

    found = run(path_of("source", source), folder, _wishes(said), asked, say, pages.write)
    return pd.DataFrame(point_rows(found))


def from_torch(
    module: Any, example: Any, *, images: "str | Path | None" = None, name: str | None = None
) -> "DualModel":
    """A PyTorch module as a model with 8-bit weights, to simulate and to validate at once.

    module: a ``torch.nn.Module``.  example: an input of the size to read it for, (1, C, H, W).
    images: pictures, a folder or an .npz file, on which activation densities are measured; without
    them activations count as dense.  name: what the model is called.
    Raises InputError if torch or onnx is not installed, or the network holds what is not known.
    """
    from accelsim.compression.importing import as_model
    from accelsim.network.from_torch import torch_network

    called = text_or_none("name", name)
    return as_model(
        torch_network(module, example),
        called or type(module).__name__,
        path_or_none("images", images),
    )


def train(recipe: str | Path, output: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train a network, jointly sparse in both domains if the recipe says so, as ``accelsim train``.

    recipe: a YAML file, or the bare name of one that comes with the package.  output: a folder for
    log, state and checkpoint.  resume: go on from the state in it.  Returns the finished
    checkpoint's card (``checkpoint.json``).
    Raises InputError for a bad recipe, missing data or another run's state, NumericalError if the
    loss is not finite.
    """
    from accelsim.explore.recipe_machine import machine_budgets
    from accelsim.training.run import train_recipe

    path = shipped.required("recipes", path_of("recipe", recipe))
    return train_recipe(path, path_of("output", output), flag("resume", resume), machine_budgets)


def compress(
    checkpoint: str | Path,
    output: str | Path,
    *,
    recipe: str | Path | None = None,
    resume: bool = False,
    say: Say = silent,
) -> "DualModel":
    """Prune, quantize and code a trained network into one file for both kinds of machine, as ``accelsim compress``.

    checkpoint: a run's folder, an ``.onnx`` file, or weights (``.safetensors``, ``.npz``) whose
    ``network`` the recipe names.  output: the ``.dual`` file to write.
    recipe: a YAML file, or the bare name of one that comes with the package; without it the
    defaults.
    resume: go on with an interrupted run.  say: called with a line of progress.  Returns what the
    file decodes to.
    Raises InputError if the checkpoint, the recipe or the data do not fit together.
    """
    from accelsim.compression.pipeline import compress_checkpoint
    from accelsim.compression.recipe import CompressionRecipe, load_compression_recipe
    from accelsim.explore.recipe_machine import of_machine

    path = None if recipe is None else shipped.required("recipes", path_of("recipe", recipe))
    settings = CompressionRecipe() if path is None else load_compression_recipe(path)
    source = path_of("checkpoint", checkpoint)
    function_of("say", say)
    return compress_checkpoint(source, path_of("output", output), settings, say, flag("resume", resume), of_machine)


def export(model: "DualModel | str | Path", output: str | Path) -> Path:
    """Write a model's decoded weights for other tools, as ``accelsim export``.

    model: a loaded one, a ``.dual`` file, or a bare name.  output: ``.safetensors`` (weights) or
    ``.onnx`` (the network).  Whole numbers: ``accelsim.export_int8``.  Returns the path written.
    Raises InputError if the ending is another one, or the onnx package is not installed.

    >>> accelsim.export("resnet20-cifar10", "weights.safetensors").stat().st_size > 1e6
    True
    """
    from accelsim.dual.export import export_model

    export_model(model_of(model), path_of("output", output))
    return path_of("output", output)
