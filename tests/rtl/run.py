"""Build the register-transfer models with Verilator, run every case, compare with the simulator, write reports/rtl.md.

``python -m tests.rtl.run``: exit status 1 if an output value is wrong, the lanes' cycles are not exactly the
simulator's, or the cycles with the DMA are off by more than 2 %; or if the cycles are not those in golden.json, which
is compared where the shipped model is the one it was recorded with.  ``--update`` records it anew, and the layers.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from accelsim.datapath.integer import requantize
from accelsim.dual.file import read_dual
from accelsim.files import write_bytes
from tests.rtl import cut_resnet18
from tests.rtl.cases import (
    BANDWIDTH,
    CUT_RESNET18,
    GOLDEN,
    HERE,
    MODEL,
    RECORDED_RESNET20,
    Case,
    Machine,
    cases,
    model_layers,
    recorded,
    write_layers,
)
from tests.rtl.program import build, stimulus
from tests.rtl.report import write_report

HDL = HERE / "hdl"
SOURCES = (
    "machine_pkg", "tile_control", "lane_array", "weight_stationary", "output_path", "winograd_transforms",
    "spatial_machine", "winograd_machine",
)  # fmt: skip
TOLERANCE = 0.02
# Loops over lanes are unrolled: Verilator 5.006 takes no delayed assignment to an array in a loop that is not.
FLAGS = ("-O3", "--unroll-count", "5000", "--unroll-stmts", "100000", "-Wno-WIDTH", "-CFLAGS", "-O1", "-j", "1")


def main() -> int:
    """Run all or some cases; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--build", type=Path, default=HERE.parents[1] / "build" / "rtl")
    parser.add_argument("--report", type=Path, default=HERE.parents[1] / "reports" / "rtl.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="run only the machines whose name holds this; writes no report")
    parser.add_argument("--update", action="store_true", help="write golden.json, of --only these machines' cases")
    arguments = parser.parse_args()
    if shutil.which("verilator") is None:
        print("error: verilator is not installed, expected version 5 or newer on the PATH", file=sys.stderr)
        return 2

    start = time.perf_counter()
    if os.environ.get("ACCELSIM_DATA"):
        cut_resnet18.main()
    else:
        print("ACCELSIM_DATA names no data folder: the layers of ResNet-18 are left out", file=sys.stderr)
    model = read_dual(arguments.model)
    layers = model_layers(model)
    todo: dict[Machine, list[Case]] = {}
    for case in cases(layers, None if arguments.update else recorded()["cases"]):
        if arguments.only in case.machine.name:
            todo.setdefault(case.machine, []).append(case)

    def one(machine: Machine) -> list[dict[str, Any]]:
        executable = compile_machine(machine, arguments.build)
        results = run_machine(executable, todo[machine])
        print(f"{time.perf_counter() - start:6.1f} s  {machine.name}: {len(results)} cases", file=sys.stderr)
        return results

    with ThreadPoolExecutor(arguments.jobs) as pool:
        # The machines that take longest to build first.
        started = {
            machine: pool.submit(one, machine)
            for machine in sorted(todo, key=lambda machine: -machine.taps * machine.rows * machine.cols * machine.m)
        }
        rows = [row for machine in todo for row in started[machine].result()]

    failures = [f"{row['name']}: {fault}" for row in rows for fault in faults(row)]
    golden = {
        row["name"]: {
            "tiling": astuple(row["case"].tiling)[:6],
            "cycles": [row["rtl"][key] for key in ("compute", "transform", "inverse", "cycles")],
        }
        for row in rows
    }
    if arguments.update:
        if not failures and (arguments.only or CUT_RESNET18.exists()):
            known = recorded()["cases"] if arguments.only else {}
            content = {"model_sha256": model.sha256, "cases": known | golden}
            write_bytes(GOLDEN, (json.dumps(content, indent=0, sort_keys=True) + "\n").encode())
            write_layers(RECORDED_RESNET20, layers)
    elif recorded()["model_sha256"] != model.sha256:
        print(f"golden.json was recorded with another {MODEL.name}, so it is not compared (--update)", file=sys.stderr)
    else:
        known = recorded()["cases"]
        failures += [
            f"{name}: cycles {case['cycles']}, golden.json says {known[name]['cycles']}"
            for name, case in golden.items()
            if known[name]["cycles"] != case["cycles"]
        ]
    if not arguments.only:
        write_report(arguments.report, rows, model, MODEL.name, BANDWIDTH)
    outputs = sum(row["rtl"]["checked"] for row in rows)
    print(f"{len(rows)} cases, {outputs} output values checked, {len(failures)} failures")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def compile_machine(machine: Machine, folder: Path) -> Path:
    """The simulator of one machine; built again only if a source or a parameter changed."""
    sources = [HDL / f"{name}.sv" for name in SOURCES] + [HERE / "harness.cpp"]
    digest = hashlib.sha256(repr((FLAGS, machine.parameters)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    target = folder / f"{machine.name}-{digest.hexdigest()[:12]}"
    executable = target / "Vmachine"
    if not executable.exists():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        top = "winograd_machine" if machine.kind == "winograd" else "spatial_machine"
        parameters = [f"-G{key}={value}" for key, value in machine.parameters.items() if has_parameter(top, key)]
        command = ["verilator", "--cc", "--exe", "--build", "--prefix", "Vmachine", "--top-module", top, *FLAGS]
        done = subprocess.run(
            [*command, *parameters, "--Mdir", str(target), *map(str, sources)], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"error: {machine.name} does not build:\n{done.stdout}{done.stderr}")
    return executable


def has_parameter(top: str, key: str) -> bool:
    """Whether the top module declares the parameter."""
    return f"parameter int {key} " in (HDL / f"{top}.sv").read_text()


def run_machine(executable: Path, todo: list[Case]) -> list[dict[str, Any]]:
    """Run the cases of one machine: for each its name, the simulator's prediction and what the RTL did."""
    content, kept = b"", {}
    for case in todo:
        layer = case.integers()
        program = build(layer, case.machine.array, case.tiling)
        kept[case.name] = float((layer.w != 0).mean())
        content += stimulus(case.name, program, requantize(program.raw, layer.out_shift))
    path = executable.parent / "stimulus.bin"
    write_bytes(path, content)
    done = subprocess.run([str(executable), str(path)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"error: {executable.parent.name} stopped with {done.returncode}:\n{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)
    found = {result["name"]: result for result in map(json.loads, done.stdout.splitlines())}
    return [
        {
            "name": case.name,
            "case": case,
            "kept": kept[case.name],
            "model": asdict(case.predict()),
            "rtl": found[case.name],
        }
        for case in todo
    ]


def faults(row: dict[str, Any]) -> list[str]:
    """What is wrong with a case; empty if nothing."""
    model, rtl = row["model"], row["rtl"]
    found = []
    if rtl["wrong"] or rtl["checked"] != rtl["outputs"]:
        found.append(f"{rtl['wrong']} wrong values, {rtl['checked']} of {rtl['outputs']} checked")
    for unit in ("compute", "transform", "inverse"):
        if model[unit] != rtl[unit]:
            found.append(f"{unit} takes {rtl[unit]} cycles, the simulator says {model[unit]}")
    if abs(model["cycles"] - rtl["cycles"]) > TOLERANCE * rtl["cycles"]:
        found.append(f"the layer takes {rtl['cycles']} cycles with the DMA, the simulator says {model['cycles']}")
    return found


if __name__ == "__main__":
    sys.exit(main())
