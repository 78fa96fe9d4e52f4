"""What ``accelsim inspect`` says: a compressed model layer by layer, and a machine with every price and its source."""

from dataclasses import asdict
from typing import Any

import numpy as np

from accelsim.dual.deploy import density, sparsity_threshold, spatial_densities, tile_sizes, winograd_model
from accelsim.dual.model import DualModel
from accelsim.hardware.energy import (
    area_mm2,
    areas,
    dram_refresh_mw,
    dram_source,
    dram_standby_mw,
    prices,
    static_mw,
    static_source,
)
from accelsim.simulator.machines.machine import Machine

MAX_TILE = 16  # as in a .dual file


def describe_model(
    model: DualModel,
    *,
    m: int | None = None,
    threshold: float | None = None,
    sparsity: float | None = None,
) -> dict[str, Any]:
    """The object that ``accelsim inspect MODEL.dual --json`` prints.

    m, threshold, sparsity: how a Winograd machine would deploy the file, instead of how the file
    says: F(m, r), and the threshold or the share of zeros over all Winograd layers together.
    Raises ValueError if they are out of range.

    compression_ratio: 4 bytes x parameters of the original network / bytes of the whole file.
    layers: convolutions and linear layers; winograd_density is null where Winograd does not apply.
    """
    filters = winograd_model(model, m=m, threshold=threshold, sparsity=sparsity)
    if m is not None and not filters and model.winograd_m:
        raise ValueError(f"no layer's kernel has an F({m}, r), expected a smaller tile")
    spatial = spatial_densities(model)
    winograd = {name: density(W) for name, W in filters.items()}
    if sparsity is not None:
        threshold = sparsity_threshold(model, sparsity, m)
    float32_bytes = 4 * model.parameters
    layers = []
    for name, share in spatial.items():
        weight = model.network.arrays[f"{name}.weight"]
        layers.append(
            {
                "name": name,
                "shape": list(weight.shape),
                "spatial_density": share,
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
        "winograd": {
            "tile": m if m is not None else sorted(set(tile_sizes(model).values())),
            "threshold": model.winograd_threshold if threshold is None else threshold,
            "density": sum(np.count_nonzero(W) for W in filters.values())
            / max(1, sum(W.size for W in filters.values())),
        },
        "accuracy": dict(model.accuracy),
    }


def describe_machine(machine: Machine) -> dict[str, Any]:
    """The object that ``accelsim inspect MACHINE --json`` prints.

    Infinite figures of ideal memory become null there.

    prices: of each action, by name.  areas_mm2: by part.  parameters: the whole description,
    defaults included.
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
            "timing": asdict(dram.timing),
            "sources": {name: dram_source(machine, name) for name in asdict(dram.timing)},
            "standby_mw": dram_standby_mw(machine),
            "refresh_mw": dram_refresh_mw(machine),
        },
        "static_mw": static_mw(machine),
        "static_source": static_source(machine),
        "area_mm2": area_mm2(machine),
        "areas_mm2": {name: area.mm2 for name, area in areas(machine).items()},
        "area_sources": {name: area.source for name, area in areas(machine).items()},
        "prices": {
            name: {"value": price.pj, "unit": price.unit, "part": price.part, "source": price.source}
            for name, price in prices(machine).items()
        },
        "parameters": machine.model_dump(mode="json"),
    }
