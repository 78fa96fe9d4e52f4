"""What ``validate`` found, on the terminal: accuracy of each machine, its layers in whole numbers, the verdict."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from accelsim.datapath.validate import MachineValidation, Validation
from accelsim.dual.model import DualModel
from accelsim.report.terminal import escape, line, model_line

LAYER_COLUMNS = ("mode", "SQNR, dB", "own", "sum bits", "V bits", "cut %")


@contextmanager
def image_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar of images on stderr and the time left; call it as (done, total).  Silent where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def show_validation(out: Console, model: DualModel, validation: Validation) -> None:
    """Each machine's accuracy, its layers in whole numbers, and the verdict with its tolerance in points of top-1."""
    reference = validation.reference_top1
    stated = "not known" if reference is None else f"{reference:.2f} %"
    line(out, model_line(model, model.network.graph.name))
    line(out, f"{validation.images} images; top-1 of the uncompressed network: {stated}")
    out.print(_accuracies(validation.machines))
    line(out, "loss: below the uncompressed network, +- one standard error; agreement: same answer as it gives")
    line(out, "largest difference: of an output, against direct convolution with the decoded weights")
    shown = [machine for machine in validation.machines if machine.layers]
    for machine in shown:
        out.print(_layers(machine))
    if shown:
        _explain(out, shown)
    verdict = {
        True: "yes",
        False: "no",
        None: "not known (no reference with the images: what the uncompressed network answers)",
    }
    line(out, f"served by both kinds of machine: {verdict[validation.served_by_both]}")
    for machine in validation.machines:
        for why in machine.too_narrow:
            enough = "more than were tried" if why.needed is None else str(why.needed)
            line(
                out,
                f"{machine.machine}: {why.unit} of {why.bits} bits cost {why.lost_points:.1f} points, most in layer "
                f"{why.layer}; bits needed: {enough}",
            )
    tolerance = validation.tolerance_points
    line(out, f"yes: machines of both kinds, and no loss above {tolerance:g} points shown (95 % confidence)")


def _accuracies(machines: Sequence[MachineValidation]) -> Table:
    """One row a machine."""
    table = _table("machine", "top-1 %", "loss, points", "agreement %", "largest difference")
    for machine in machines:
        agreement = "-" if machine.agreement is None else f"{machine.agreement:.2f}"
        loss = "-"
        if machine.loss_points is not None and machine.loss_standard_error is not None:
            loss = f"{machine.loss_points:.2f} +- {machine.loss_standard_error:.2f}"
        table.add_row(escape(machine.machine), f"{machine.top1:.2f}", loss, agreement, f"{machine.max_abs_error:.3g}")
    return table


def _layers(machine: MachineValidation) -> Table:
    """One row a layer of an integer run; those that only move numbers are left out."""
    table = _table(machine.machine, *LAYER_COLUMNS)
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


def _explain(out: Console, machines: Sequence[MachineValidation]) -> None:
    """What the columns of the layers mean, and where the scales come from."""
    line(out, "SQNR: of the layer's output against float32, whole path; own: of this layer alone; <: the worst layer")
    line(out, "sum bits: that the largest sum takes; V bits: that transformed inputs take before they are narrowed")
    line(out, "cut %: outputs, sums or transformed inputs beyond their words, the most frequent of the three")
    for scales in dict.fromkeys(machine.scales for machine in machines):
        line(out, f"scales from {scales}")


def _small(percent: float) -> str:
    """A share that may be tiny."""
    return "0" if percent == 0 else f"{percent:.2g}"


def _table(first: str, *columns: str) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column(escape(first), overflow="fold")
    for column in columns:
        table.add_column(escape(column), justify="left" if column == "mode" else "right", overflow="fold")
    return table
