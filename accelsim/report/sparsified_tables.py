"""What ``accelsim sparsify`` made, as tables on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from accelsim.report.console import escape, line, named_table
from accelsim.report.grid import put


def show_sparsified(out: Console, summary: Mapping[str, Any]) -> None:
    """What ``accelsim sparsify`` made: the file, its layers, and the curve if there is one."""
    line(out, f"{summary['file']}: {summary['parameters']:,} parameters, {summary['file_bytes']:,} bytes")
    line(out, f"{summary['ratio']:.1f}x smaller than float32, {summary['cost_reduction']:.1f}x fewer multiplies")
    for name, unit, size in (("latency", "ms", 1.0), ("energy", "pj", 1e-6)):
        if f"{name}_{unit}" in summary:
            had, asked, dense = (size * summary[f"{name}{what}_{unit}"] for what in ("", "_asked", "_dense"))
            shown = "ms" if name == "latency" else "uJ"
            said = f"{had:.4g} {shown} an image, asked {asked:.4g}; dense, at 8 bits, {dense:.4g}"
            line(out, f"{summary['machine']}: {said}")
    table = named_table("layer", "zeros, %", "in Winograd domain, %", "error, %", "bits a weight", "loss if alone")
    for layer in summary["layers"]:
        table.add_row(
            escape(layer["name"]),
            f"{100 * layer['zeros_sd']:.0f}",
            f"{100 * layer['zeros_wd']:.0f}" if layer["zeros_wd"] else "",
            f"{100 * layer['error']:.2f}",
            f"{layer['bits']:.2f}",
            f"{layer['predicted']:.2g}",
        )
    put(out, table)
    fixed = ("ratio", "cost_reduction", "file_bytes")
    figures = [key for key in summary["curve"][0] if key not in fixed]
    for key in figures:
        unit = "dB" if key.startswith("psnr") else "%"
        line(out, f"{key.replace('_', ', ')}: {summary[key]:.2f} {unit}")
    if len(summary["curve"]) > 1:
        curve = named_table("smaller by", "fewer multiplies", *(key.replace("_", " ") for key in figures))
        for row in summary["curve"]:
            cells = [f"{row['cost_reduction']:.1f}", *(f"{row[key]:.2f}" for key in figures)]
            curve.add_row(f"{row['ratio']:.1f}", *cells)
        put(out, curve)
