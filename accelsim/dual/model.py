"""What a ``.dual`` file says once decoded: one network, and how to run it in either domain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from accelsim.arrays import Array
from accelsim.dual.calibration import Calibration
from accelsim.network import Network, Node
from accelsim.network.layers import Conv


@dataclass(frozen=True)
class DualModel:
    """A compressed network that serves both kinds of machine."""

    network: Network
    """The inference graph (batch-norm folded to ``affine``) with decoded float32 arrays:
    weights pruned and quantized in the spatial domain."""

    winograd_m: Mapping[str, int]
    """Output tile size m of F(m x m, R x S) for each Winograd-eligible convolution, by node name.
    """

    winograd_threshold: float
    """Winograd-domain filter entries with an absolute value up to it are zero."""

    layer_thresholds: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of single convolutions instead, by node name; of a file that is deployed so, not of
    the file itself."""

    input_density: Mapping[str, Array] = field(default_factory=dict)
    """For each conv and linear node, the share of non-zero inputs of each channel (C,),
    measured on calibration images; empty if not measured."""

    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Measured figures by name,
    in percent or dB (``top1_reference``, ``top1_spatial``, ``top1_winograd``).
    """

    provenance: Mapping[str, str] = field(default_factory=dict)
    """Free text by key (recipe, seed, data, sample images)."""

    parameters: int = 0
    """Parameters of the original network."""

    file_bytes: int = 0
    """Size of the whole file."""

    coded_bits: Mapping[str, int] = field(default_factory=dict)
    """Bits of the file spent on each weight tensor, by node name."""

    sha256: str = ""
    """SHA-256 of the file, in hexadecimal."""

    calibrations: tuple[Calibration, ...] = ()
    """Scales of whole numbers, each for one machine's arithmetic."""

    def threshold_of(self, name: str) -> float:
        """The Winograd-domain threshold of a convolution."""
        return self.layer_thresholds.get(name, self.winograd_threshold)

    def __repr__(self) -> str:
        """One line: the network and its sizes."""
        return f"DualModel({self.network.graph.name!r}, {self.parameters:,} parameters, {self.file_bytes:,} bytes)"


def winograd_eligible(node: Node) -> bool:
    """Whether Winograd serves the node as it stands.

    A convolution at stride 1, undilated, kernel at least 2 x 2.
    """
    layer = node.layer
    return isinstance(layer, Conv) and layer.stride == (1, 1) and layer.dilation == (1, 1) and min(layer.kernel) >= 2
