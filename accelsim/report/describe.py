"""What ``accelsim inspect`` says: a compressed model layer by layer, and a machine with every price and its source."""

from dataclasses import asdict
from typing import Any

from accelsim.compression.deploy import spatial_densities, winograd_densities
from accelsim.compression.model import DualModel
from accelsim.hardware.energy import area_source, prices, static_mw, static_source
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.run import areas_mm2


def describe_model(model: DualModel) -> dict[str, Any]:
    """The object that ``accelsim inspect MODEL.dual --json`` prints.

    compression_ratio: 4 bytes x parameters of the original network / bytes of the whole file.  layers: convolutions and
    linear layers; winograd_density is null where Winograd does not apply.
    """
    spatial, winograd = spatial_densities(model), winograd_densities(model)
    float32_bytes = 4 * model.parameters
    layers = []
    for name, density in spatial.items():
        weight = model.network.arrays[f"{name}.weight"]
        layers.append(
            {
                "name": name,
                "shape": list(weight.shape),
                "spatial_density": density,
                "winograd_density": winograd.get(name),
                "bits_per_weight": model.coded_bits[name] / weight.size,
            }
        )
    return {
        "parameters": model.parameters,
        "float32_bytes": float32_bytes,
        "file_bytes": model.file_bytes,
        "compression_ratio": float32_bytes / model.file_bytes,
        "layers": layers,
        "accuracy": dict(model.accuracy),
    }


def describe_machine(machine: SpatialMachine | WinogradMachine) -> dict[str, Any]:
    """The object that ``accelsim inspect MACHINE --json`` prints.  Infinite figures of ideal memory become null there.

    prices: of each action, by name.  areas_mm2: by part.  parameters: the whole description, defaults included.
    """
    dram = machine.dram
    return {
        "machine": machine.name,
        "kind": machine.kind,
        "description": machine.description,
        "lanes": machine.lanes,
        "sram_bytes": machine.sram_bytes,
        "clock_mhz": machine.clock_mhz,
        "node_nm": machine.node_nm,
        "dram": {
            "type": dram.type,
            "channels": dram.channels,
            "bandwidth_gbs": dram.timing.bandwidth_gbs * dram.channels,
            "timing": {
                name: value for name, value in asdict(dram.timing).items() if name not in {"source", "timing_source"}
            },
            "timing_source": dram.timing_source,
        },
        "static_mw": static_mw(machine),
        "static_source": static_source(machine),
        "area_mm2": sum(areas_mm2(machine).values()),
        "areas_mm2": areas_mm2(machine),
        "area_sources": {part: area_source(machine, part) for part in areas_mm2(machine)},
        "prices": {
            name: {"value": price.pj, "unit": price.unit, "part": price.part, "source": price.source}
            for name, price in prices(machine).items()
        },
        "parameters": machine.model_dump(mode="json"),
    }
