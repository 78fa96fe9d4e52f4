"""What a ``.dual`` file says about itself: the JSON member ``manifest.json``.

It is validated before anything is believed.
"""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from accelsim.dual.calibration import MOST, Calibration
from accelsim.dual.coding.coders import Coder
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.model import winograd_eligible
from accelsim.dual.quantizer import MAX_LEVEL
from accelsim.network import INPUT, Graph
from accelsim.settings import NonNegative, Positive, Section, Seed

FORMAT: Final = "accelsim-dual"
# 1: without a digest of the whole file; 3: with calibrations; 4: coder static
VERSIONS: Final = (1, 2, 3, 4)
MAX_MANIFEST_BYTES = 1 << 20

Text = Annotated[str, Field(max_length=1000)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
TileSize = Annotated[int, Field(ge=1, le=16)]


class Quantization(Section):
    """How indices become weights (``quantizer``)."""

    cell: Positive
    """D of every weight array."""

    cells: dict[Key, Positive] = Field(default_factory=dict)
    """D of single arrays that differ, by array name."""

    codebook: Annotated[int, Field(ge=0, le=MAX_LEVEL)] = 0
    """The largest index with an entry of its own; 0 if c_n = n for all."""

    seed: Seed | None = None
    """Seed of the dither; None for uniform quantization."""


class Winograd(Section):
    """How a Winograd machine runs the network."""

    threshold: NonNegative
    """Winograd-domain filter entries up to it are zero."""

    m: TileSize | dict[Key, TileSize]
    """Tile size of the eligible convolutions, by node name; one number stands for all of them."""


class Values(Section):
    """How the other arrays are stored, and input densities: as integers."""

    bits: Annotated[int, Field(ge=2, le=24)]
    """Bits of each integer of an array."""

    exponents: dict[Key, Annotated[int, Field(ge=-126, le=126)]]
    """The power of two that an array's integers are times, by array name."""

    density_steps: Annotated[int, Field(ge=1, le=MAX_LEVEL)] = 1
    """The integer of an input density of 1."""

    densities: list[Key] | None = None
    """The nodes whose input densities the file holds; None: every convolution and linear layer."""


class Manifest(Section):
    """All that a file says about itself."""

    format: Literal["accelsim-dual"] = FORMAT
    """What kind of file it is."""

    version: Literal[1, 2, 3, 4] = 2
    """Version of the format; 2 has a digest of the whole file, 3 calibrations, too; 4 is coded by
    ``static``."""

    graph: Graph
    """The inference graph."""

    parameters: Annotated[int, Field(ge=0, lt=1 << 40)]
    """Parameters of the original network."""

    coder: Coder
    """What the indices are coded by."""

    quantization: Quantization
    """How indices become weights."""

    winograd: Winograd
    """How a Winograd machine runs the network."""

    values: Values
    """How all other arrays and the input densities are stored."""

    accuracy: dict[Key, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Measured figures by name, in percent or dB."""

    provenance: dict[Key, Text] = Field(default_factory=dict)
    """Free text by key."""

    calibrations: Annotated[list[Calibration], Field(max_length=MOST)] = Field(default_factory=list)
    """Scales of whole numbers, each for one machine's arithmetic; from version 3."""

    @model_validator(mode="after")
    def _check(self) -> "Manifest":
        nodes = {node.name: node for node in self.graph.nodes}
        names = self.weight_names
        if unknown := sorted(self.quantization.cells.keys() - set(names)):
            raise ValueError(f"quantization.cells: {unknown[0]!r} is no weight array of the graph")
        if isinstance(self.winograd.m, dict):
            for name in self.winograd.m:
                if name not in nodes or not winograd_eligible(nodes[name]):
                    raise ValueError(f"winograd.m: {name!r} is no convolution that Winograd can serve")
        if set(self.values.exponents) != set(self.value_names):
            expected = "one entry for each bias, scale and shift array of the graph"
            raise ValueError(f"values.exponents: expected {expected}")
        density_nodes = self.density_names
        if len(set(density_nodes)) < len(density_nodes):
            raise ValueError("values.densities: a node is named twice")
        for name in density_nodes:
            if name not in nodes or nodes[name].layer.op not in ("conv", "linear"):
                raise ValueError(f"values.densities: {name!r} is no convolution or linear layer")
        if (self.version == 4) != (self.coder == "static"):
            raise ValueError(f"version {self.version}, expected 4 with the coder static, and only there")
        if self.version < 4 and (self.version == 3) != bool(self.calibrations):
            raise ValueError(f"version {self.version}, expected 3 with calibrations, and only there")
        for calibration in self.calibrations:
            for name in (*calibration.units, *calibration.input_shifts, *calibration.sum_shifts):
                if name != INPUT and name not in nodes:
                    raise ValueError(f"calibrations: {name!r} is no node of the graph")
        return self

    @property
    def weight_names(self) -> list[str]:
        """Arrays that are quantized by a cell size and coded as weights, in graph order."""
        return weight_names(self.graph)

    @property
    def value_names(self) -> list[str]:
        """All other arrays, in graph order."""
        weights = set(self.weight_names)
        return [name for name in self.graph.parameters if name not in weights]

    @property
    def density_names(self) -> list[str]:
        """Nodes whose input densities the file holds."""
        if self.values.densities is not None:
            return self.values.densities
        return [node.name for node in self.graph.nodes if node.layer.op in ("conv", "linear")]

    @property
    def tile_sizes(self) -> dict[str, int]:
        """m of each Winograd-eligible convolution that has one, by node name."""
        if isinstance(self.winograd.m, dict):
            return dict(self.winograd.m)
        return {node.name: self.winograd.m for node in self.graph.nodes if winograd_eligible(node)}

    def cell(self, name: str) -> float:
        """D of the weight array ``name``."""
        return self.quantization.cells.get(name, self.quantization.cell)

    def to_json(self) -> bytes:
        """Compact JSON without defaults; a node that reads the node before it does not say so."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        previous = "input"
        for node, record in zip(self.graph.nodes, content["graph"]["nodes"], strict=True):
            record["layer"] = {"op": node.layer.op, **record["layer"]}
            if record["inputs"] == [previous]:
                del record["inputs"]
            previous = node.name
        content = {"format": FORMAT, "version": self.version, **content}
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def weight_names(graph: Graph) -> list[str]:
    """The weight arrays of convolutions and linear layers, in graph order."""
    return [f"{node.name}.weight" for node in graph.nodes if node.layer.op in ("conv", "linear")]


def parse_manifest(content: bytes) -> Manifest:
    """The manifest.  Raises DamagedFile naming the first fault, and how many there are."""
    try:
        raw: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"manifest.json is no JSON ({str(error)[:200]})") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DamagedFile(f"manifest.json: no .dual file: its 'format' is not {FORMAT!r}")
    if raw.get("version") not in VERSIONS:
        found = str(raw.get("version"))[:40]
        known = f"{', '.join(map(str, VERSIONS[:-1]))} and {VERSIONS[-1]}"
        raise DamagedFile(f"manifest.json: format version {found}, this accelsim reads versions {known}")
    _restore_inputs(raw)
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        first = faults[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        rest = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        message = " ".join(first["msg"].split())[:300]
        raise DamagedFile(f"manifest.json: {where or 'manifest'}: {message}{rest}") from None


def _restore_inputs(raw: dict[str, Any]) -> None:
    graph = raw.get("graph")
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    previous = "input"
    for node in nodes if isinstance(nodes, list) else ():
        if not isinstance(node, dict):
            return
        node.setdefault("inputs", [previous])
        name = node.get("name")
        previous = name if isinstance(name, str) else ""
