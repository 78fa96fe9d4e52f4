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
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

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
    RESNET20,
    Case,
    Machine,
    cases,
    model_layers,
    recorded,
    write_layers,
)
from tests.rtl.chains import CHAINED, Chain, chains
from tests.rtl.program import stimulus
from tests.rtl.report import write_report

HDL = HERE / "hdl"
SOURCES = (
    "machine_pkg", "tile_control", "lane_array", "weight_stationary", "output_path", "winograd_transforms",
    "streamed_transform", "lane_inverse", "spatial_machine", "winograd_machine",
)  # fmt: skip
TOLERANCE = 0.02
# Loops over lanes are unrolled: Verilator 5.006 takes no delayed assignment to an array in a loop that is not.
RUNTIME = ("verilated.o", "verilated_threads.o")  # the same in every build, so compiled once
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
    layers = model_layers(model, {*RESNET20, *CHAINED})
    known = {} if arguments.update else recorded()["cases"]
    todo: dict[Machine, list[Case | Chain]] = {}
    for case in [*cases(layers, known or None), *chains(layers, known)]:
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
            **row["case"].record,
            "cycles": [row["rtl"][key] for key in ("compute", "transform", "inverse", "cycles")],
            **({key: row["rtl"][key] for key in ("computed", "finished")} if row["case"].machine.chain else {}),
        }
        for row in rows
    }
    if arguments.update:
        if not failures and (arguments.only or CUT_RESNET18.exists()):
            others = recorded()["cases"] if arguments.only else {}
            content = {"model_sha256": model.sha256, "cases": others | golden}
            write_bytes(GOLDEN, (json.dumps(content, indent=0, sort_keys=True) + "\n").encode())
            write_layers(RECORDED_RESNET20, layers)
    elif recorded()["model_sha256"] != model.sha256:
        print(f"golden.json was recorded with another {MODEL.name}, so it is not compared (--update)", file=sys.stderr)
    else:
        failures += [
            f"{name}: {case}, golden.json says {known[name]}"
            for name, case in golden.items()
            if known[name] != json.loads(json.dumps(case))
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
        command = ["verilator", "--cc", "--exe", "--prefix", "Vmachine", "--top-module", top, *FLAGS]
        must(machine, [*command, *parameters, "--Mdir", str(target), *map(str, sources)])
        runtime = [folder / f"runtime-{toolchain()}-{name}" for name in RUNTIME]
        for kept, name in zip(runtime, RUNTIME, strict=True):
            if kept.exists():
                shutil.copyfile(kept, target / name)
        must(machine, ["make", "-j", "1", "-C", str(target), "-f", "Vmachine.mk"])
        for kept, name in zip(runtime, RUNTIME, strict=True):
            if not kept.exists():
                write_bytes(kept, (target / name).read_bytes())
    return executable


@cache
def toolchain() -> str:
    """What decides the objects of ``RUNTIME``, as a few digits."""
    version = subprocess.run(["verilator", "--version"], capture_output=True, check=True).stdout
    return hashlib.sha256(version + repr(FLAGS).encode()).hexdigest()[:12]


def must(machine: Machine, command: list[str]) -> None:
    """Run a step of a machine's build.  Raises SystemExit if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {machine.name} does not build:\n{done.stdout}{done.stderr}")


def has_parameter(top: str, key: str) -> bool:
    """Whether the top module declares the parameter."""
    return f"parameter int {key} " in (HDL / f"{top}.sv").read_text()


def run_machine(executable: Path, todo: list[Case | Chain]) -> list[dict[str, Any]]:
    """Run the cases of one machine: for each its name, the simulator's prediction and what the RTL did."""
    content, programs = b"", {}
    for case in todo:
        programs[case.name] = case.program()
        content += stimulus(case.name, programs[case.name])
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
            "kept": case.kept,
            "model": asdict(case.predict()),
            "exact": asdict(case.predict(programs[case.name])) if isinstance(case, Chain) else None,
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
    for key in ("computed", "finished", "cycles") if row["exact"] else ():
        here, there = row["rtl"][key], row["exact"][key]
        if here != (list(there) if isinstance(there, tuple) else there):
            found.append(f"{key} at {here}, the simulator says {there} with as many bytes of weights")
    return found


if __name__ == "__main__":
    sys.exit(main())
