"""What ``validate`` found, on the terminal.

Accuracy of each machine, its layers in whole numbers, the verdict.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from accelsim.datapath.pictures import PictureMachine, PictureValidation
from accelsim.datapath.validate import MachineValidation, Validation
from accelsim.datapath.widths import FoundWidths
from accelsim.dual.model import DualModel
from accelsim.report.console import escape, line
from accelsim.report.grid import grid, put
from accelsim.report.shelf_tables import model_line

NO_REFERENCE = "what the uncompressed network gives is not with the images"
NO_ANSWERS = f"{NO_REFERENCE}: --reference NET.onnx"
ONE_IMAGE = "one image does not say how sure its loss is"
LAYER_COLUMNS = ("mode", "SQNR, dB", "own", "sum bits", "V bits", "cut %")


@contextmanager
def image_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar of images on stderr and the time left; call it as (done, total).

    Silent where stderr is no terminal.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def show_validation(
    out: Console,
    model: DualModel,
    validation: Validation | PictureValidation,
) -> None:
    """Each machine's accuracy, its layers in whole numbers, and the verdict with its tolerance in points or dB."""
    if isinstance(validation, PictureValidation):
        _show_pictures(out, model, validation)
    else:
        _show_answers(out, model, validation)


def _show_pictures(out: Console, model: DualModel, validation: PictureValidation) -> None:
    """Of a network that gives pictures."""
    line(out, model_line(model, model.network.graph.name))
    entering = validation.input_psnr_db
    known = "" if entering is None else f" (as they enter {entering:.2f} dB)"
    line(
        out,
        f"{validation.images} pictures; PSNR of the {validation.reference} network: "
        f"{validation.reference_psnr_db:.2f} dB{known}",
    )
    table = named_table("machine", "PSNR, dB", "loss, dB", "largest difference")
    for row in validation.machines:
        loss = _plus_minus(row.loss_db, row.loss_standard_error, 3)
        table.add_row(escape(row.machine), f"{row.psnr_db:.2f}", loss, f"{row.max_abs_error:.3g}")
    put(out, table)
    line(out, f"loss: below the {validation.reference} network, +- one standard error, picture by picture")
    _show_layers(out, validation.machines)
    reason = NO_REFERENCE if validation.reference == "decoded" else ONE_IMAGE
    line(out, f"served by both kinds of machine: {_verdict(validation.served_by_both, reason)}")
    _show_reasons(out, validation.machines, "dB")
    line(
        out,
        f"'yes' where machines of both kinds show no loss above {validation.tolerance_db:g} dB (95 % confidence)",
    )


def _show_answers(out: Console, model: DualModel, validation: Validation) -> None:
    """Show the validation of a classifier, by its answers."""
    reference = validation.reference_top1
    stated = "not known" if reference is None else f"{reference:.2f} %"
    line(out, model_line(model, model.network.graph.name))
    line(out, f"{validation.images} images; top-1 of the uncompressed network: {stated}")
    put(out, _accuracies(validation.machines))
    line(out, "loss: below the uncompressed network, +- one standard error; agreement: same answer as it gives")
    line(out, "largest difference: of an output, against direct convolution with the decoded weights")
    _show_layers(out, validation.machines)
    reason = NO_ANSWERS if any(row.loss_points is None for row in validation.machines) else ONE_IMAGE
    line(out, f"served by both kinds of machine: {_verdict(validation.served_by_both, reason)}")
    _show_reasons(out, validation.machines, "points")
    tolerance = validation.tolerance_points
    line(out, f"'yes' where machines of both kinds show no loss above {tolerance:g} points (95 % confidence)")


def _verdict(served: bool | None, reason: str) -> str:
    """The verdict in a word.  reason: why it is not known, where it is not."""
    return {True: "yes", False: "no", None: f"not known ({reason})"}[served]


def _plus_minus(loss: float, standard_error: float | None, digits: int) -> str:
    """A loss and how sure it is; of one image nobody knows."""
    error = "?" if standard_error is None else f"{standard_error:.{digits}f}"
    return f"{loss:.{digits}f} +- {error}"


def _show_layers(out: Console, machines: Sequence[MachineValidation | PictureMachine]) -> None:
    """The layers of those machines that ran in whole numbers."""
    shown = [machine for machine in machines if machine.layers]
    for machine in shown:
        put(out, _layers(machine))
    if shown:
        _explain(out, shown)


def _show_reasons(
    out: Console,
    machines: Sequence[MachineValidation | PictureMachine],
    unit: str,
) -> None:
    """Words that are too narrow, one a line.  unit: of what they cost."""
    for machine in machines:
        for why in machine.too_narrow:
            enough = "more than were tried" if why.needed is None else str(why.needed)
            line(
                out,
                f"{machine.machine}: {why.unit} of {why.bits} bits cost {why.lost_points:.1f} {unit}, most in layer "
                f"{why.layer}; bits needed: {enough}",
            )


def show_widths(out: Console, found: Sequence[FoundWidths]) -> None:
    """The cheapest words of each machine, and what their multiplies take."""
    table = named_table("machine", "words", "score", "uJ an image", "less")
    for one in found:
        name = escape(one.machine)
        table.add_row(name, _words(one.stated), f"{one.stated_score:.2f}", f"{one.stated_pj / 1e6:.2f}", "")
        if one.uniform is None or one.uniform_pj is None or one.layers is None or one.layers_pj is None:
            table.add_row("", "no narrower ones: these lose too much", "", "", "")
            continue
        for words, score, pj in (
            (_words(one.uniform), one.uniform_score, one.uniform_pj),
            (
                f"weights {min(one.layers.values())} to {max(one.layers.values())} by layer",
                one.layers_score,
                one.layers_pj,
            ),
        ):
            table.add_row("", words, f"{score:.2f}", f"{pj / 1e6:.2f}", f"{100 * (1 - pj / one.stated_pj):.0f} %")
    put(out, table)
    for one in found:
        if one.layers is not None:
            line(out, f"{one.machine}: " + ", ".join(f"{name} {bits}" for name, bits in one.layers.items()))
    reference = ", ".join(dict.fromkeys(f"{one.reference:.2f} on {one.images} images" for one in found))
    line(out, f"words: bits of weights / activations / transformed inputs / sums; reference {reference}")
    line(out, "uJ: multiplies by weights that are not zero, by the gates of a lane; score: top-1 in %, or PSNR in dB")


def _words(widths: dict[str, int]) -> str:
    """Bits of each unit."""
    return " / ".join(str(bits) for bits in widths.values())


def _accuracies(machines: Sequence[MachineValidation]) -> Table:
    """One row a machine."""
    table = named_table("machine", "top-1 %", "loss, points", "agreement %", "largest difference")
    for machine in machines:
        agreement = "-" if machine.agreement is None else f"{machine.agreement:.2f}"
        loss = "-"
        if machine.loss_points is not None:
            loss = _plus_minus(machine.loss_points, machine.loss_standard_error, 2)
        table.add_row(escape(machine.machine), f"{machine.top1:.2f}", loss, agreement, f"{machine.max_abs_error:.3g}")
    return table


def _layers(machine: MachineValidation | PictureMachine) -> Table:
    """One row a layer of an integer run; those that only move numbers are left out."""
    table = named_table(machine.machine, *LAYER_COLUMNS)
    for layer in machine.layers:
        if layer.mode in ("bounds", "max_pool", "flatten", "pad_channels", "pad_image"):
            continue
        cut = max(layer.saturated_percent, layer.overflowed_percent, layer.transformed_saturated_percent)
        table.add_row(
            f"{escape(layer.name)}{' <' if layer.worst else ''}",
            layer.mode.rpartition("_")[2],  # pool of global_average_pool
            f"{layer.sqnr_db:.1f}",
            f"{layer.own_sqnr_db:.1f}",
            str(layer.sum_bits or "-"),
            str(layer.transformed_bits or "-"),
            _small(cut),
        )
    return table


def _explain(out: Console, machines: Sequence[MachineValidation | PictureMachine]) -> None:
    """What the columns of the layers mean, and where the scales come from."""
    line(out, "SQNR: of the layer's output against float32, whole path; own: of this layer alone; <: the worst layer")
    line(out, "sum bits: that the largest sum takes; V bits: that transformed inputs take before they are narrowed")
    line(out, "cut %: outputs, sums or transformed inputs beyond their words, the most frequent of the three")
    for scales in dict.fromkeys(machine.scales for machine in machines):
        line(out, f"scales from {scales}")


def _small(percent: float) -> str:
    """A share that may be tiny."""
    return "0" if percent == 0 else f"{percent:.2g}"


def named_table(first: str, *columns: str) -> Table:
    table = grid()
    table.add_column(escape(first), overflow="fold")
    for column in columns:
        table.add_column(escape(column), justify="left" if column == "mode" else "right", overflow="fold")
    return table
