"""The ``.dual`` file: one compressed network for both kinds of machine.

Members of the archive (``container``): ``manifest.json`` (``manifest``), ``weights`` (the
entropy-coded indices) and ``values`` (codebook, biases, scales and shifts, input densities), and
``digest``: what was altered in the file is refused at once, not after seconds of decoding.  Version
1 had none and is read where decoding takes less than a second.
Byte by byte: docs/dual-format.md.
A reader trusts nothing: every size follows from the validated manifest and is bounded by the size
of the file before memory is taken.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from accelsim.arrays import Array, Levels
from accelsim.dual.calibration import MOST, Calibration
from accelsim.dual.coding.coders import Coder, decode, encode
from accelsim.dual.coding.context import coding_steps
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.numbers import decode_numbers, encode_numbers
from accelsim.dual.coding.static import static_steps
from accelsim.dual.container import pack, unpack
from accelsim.dual.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    Quantization,
    Values,
    Winograd,
    parse_manifest,
    weight_names,
)
from accelsim.dual.model import DualModel, winograd_eligible
from accelsim.dual.quantizer import CODEBOOK_UNIT, MAX_LEVEL, Quantizer, dyadic, plain_codebook
from accelsim.errors import InputError
from accelsim.files import DUAL, read_bytes, write_bytes
from accelsim.network import Graph, Network
from accelsim.threads import on_all_cores

DENSITY_STEPS = 63  # the integer of an input density of 1
# A file may not claim more numbers than its size makes plausible: 1/4 of a bit each, and some for
# free.  Weights that are all zero take next to no bits: of them as many are free as a coder decodes
# in two seconds, so that what is written is read.
NUMBERS_PER_BYTE = 32
FREE_NUMBERS = 1 << 18
FREE_WEIGHTS: dict[Coder, int] = {"context": 1 << 22, "bz2": 1 << 24, "deflate": 1 << 24, "static": 1 << 22}
# Nor more steps of decoding, which take time however few numbers they yield.
BYTES_PER_STEP = 16
FREE_STEPS = 1 << 13
# Of version 1, which has no digest, only what is decoded in less than a second.
UNDIGESTED_WEIGHTS = 1 << 16
UNDIGESTED_STEPS = 1 << 8
# What a writer chooses where no coder is named: `static` decodes about ten times as fast, and may
# take so much more.
SMALL = 1 << 16  # fewer weights are decoded at once by any coder, and `context` takes no room for statistics
TOLERATED = 1.005  # bytes of the indices by `static`, to those by `context`


@dataclass(frozen=True)
class CompressedNetwork:
    """What a ``.dual`` file is made of.  Fields without a remark are those of ``DualModel``."""

    graph: Graph  # the inference graph (no batch-norm)
    # of each conv's and linear node's weight, by array name, in order
    indices: Mapping[str, Levels]
    quantizer: Quantizer  # how indices become weights
    values: Mapping[str, Array]  # every other array (biases, scales, shifts), by array name
    winograd_m: Mapping[str, int]
    winograd_threshold: float
    input_density: Mapping[str, Array] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    value_bits: int = 10  # of each number of ``values``


def write_dual(path: Path, compressed: CompressedNetwork, coder: Coder | None = None) -> DualModel:
    """Write the file atomically and return what a reader gets from it.

    The same content gives the same bytes.  Without a coder: of ``context`` and ``static`` the one
    that decodes faster, unless it takes 0.5 % more bytes.

    Raises InputError if a reader would refuse the file, ValueError if the content does not fit
    together.
    """
    content = encode_dual(compressed, coder)
    model = decode_dual(content, str(path))
    write_bytes(path, content)
    return model


def with_accuracy(content: bytes, accuracy: Mapping[str, float]) -> bytes:
    """A file's content in the newest version, with other measured figures in its manifest."""
    members = unpack(content, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(members["manifest.json"])
    figures = {"version": max(2, manifest.version), "accuracy": dict(accuracy)}
    return _archive(manifest.model_copy(update=figures), members["weights"], members["values"])


def with_calibration(content: bytes, calibration: Calibration) -> bytes:
    """A file's content with scales for one arithmetic, in place of those it had for the same.

    Raises InputError if the file holds scales for ``calibration.MOST`` others.
    """
    members = unpack(content, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(members["manifest.json"])
    others = [found for found in manifest.calibrations if found.arithmetic != calibration.arithmetic]
    if len(others) >= MOST:
        raise InputError(f"the file holds scales for {len(others)} machines, expected fewer than {MOST}")
    changed = manifest.model_copy(update={"version": max(3, manifest.version), "calibrations": [*others, calibration]})
    return _archive(changed, members["weights"], members["values"])


def with_coder(content: bytes, coder: Coder) -> bytes:
    """A file's content with the same indices in another code, and all else as it was."""
    manifest, weights, values = _open(content)
    indices, _ = _decode_weights(manifest, weights)
    integers = _decode_values(manifest, values)
    kinds = _kinds(manifest.value_names, len(manifest.density_names))
    values = encode_numbers(integers, kinds, joined=coder == "static")
    version = 4 if coder == "static" else 3 if manifest.calibrations else 2
    changed = manifest.model_copy(update={"version": version, "coder": coder})
    return _archive(changed, encode(list(indices.values()), coder)[0], values)


def _archive(manifest: Manifest, weights: bytes, values: bytes) -> bytes:
    members = {"manifest.json": manifest.to_json(), "weights": weights, "values": values}
    return pack({**members, "digest": _digest(members)}, compressed=frozenset({"manifest.json"}))


def _digest(members: Mapping[str, bytes]) -> bytes:
    """SHA-256 of the contents of all members but itself, one after the other."""
    return hashlib.sha256(b"".join(content for name, content in members.items() if name != "digest")).digest()


def read_dual(path: Path) -> DualModel:
    """Read and decode a file.

    Raises InputError, one line, if it cannot be read or is anything but an intact ``.dual`` file of
    this version.
    """
    return decode_dual(read_bytes(path, DUAL), str(path))


def read_indices(path: Path) -> dict[str, Levels]:
    """The quantization indices of each weight array of a file, by name.

    Raises InputError as ``read_dual``.
    """
    try:
        manifest, weights, _ = _open(read_bytes(path, DUAL))
        return _decode_weights(manifest, weights)[0]
    except DamagedFile as error:
        raise InputError(f"{path}: {error}") from None


def read_manifest(path: Path) -> tuple[Manifest, int]:
    """What a file says of itself, and its size in bytes; nothing is decoded.

    Raises InputError as ``read_dual``, but for what only decoding would show.
    """
    content = read_bytes(path, DUAL)
    try:
        return _open(content)[0], len(content)
    except DamagedFile as error:
        raise InputError(f"{path}: {error}") from None


def encode_dual(compressed: CompressedNetwork, coder: Coder | None = None) -> bytes:
    """The bytes of the file, coded as ``write_dual`` does."""
    graph = compressed.graph
    quantizer = compressed.quantizer
    names = weight_names(graph)
    others = [name for name in graph.parameters if name not in set(names)]
    integers = [_codebook_integers(quantizer)]
    exponents = {}
    for name in others:
        q, exponents[name] = dyadic(compressed.values[name], compressed.value_bits)
        integers.append(q)
    densities = [node.name for node in graph.nodes if node.name in compressed.input_density]
    for name in densities:
        steps = np.rint(compressed.input_density[name] * DENSITY_STEPS)
        integers.append(steps.astype(np.int32))
    chosen, weights = _coded([compressed.indices[name] for name in names], coder)
    manifest = Manifest(
        version=4 if chosen == "static" else 2,
        graph=graph,
        parameters=compressed.parameters,
        coder=chosen,
        quantization=_quantization(quantizer, names),
        winograd=Winograd(threshold=compressed.winograd_threshold, m=_stored_tiles(compressed)),
        values=Values(
            bits=compressed.value_bits,
            exponents=exponents,
            density_steps=DENSITY_STEPS,
            densities=None if densities == [name.removesuffix(".weight") for name in names] else densities,
        ),
        accuracy=dict(compressed.accuracy),
        provenance=dict(compressed.provenance),
    )
    values = encode_numbers(integers, _kinds(others, len(densities)), joined=chosen == "static")
    return _archive(manifest, weights, values)


def _coded(tensors: Sequence[Levels], coder: Coder | None) -> tuple[Coder, bytes]:
    """The indices in a code, or in the one that suits them."""
    if coder is not None:
        return coder, encode(tensors, coder)[0]
    coders: list[Coder] = ["context"]
    if sum(tensor.size for tensor in tensors) >= SMALL:
        coders.append("static")
    smallest, *others = on_all_cores(lambda each: encode(tensors, each)[0], coders)
    for fast in others:
        if len(fast) <= TOLERATED * len(smallest):
            return "static", fast
    return "context", smallest


def _quantization(quantizer: Quantizer, names: list[str]) -> Quantization:
    """What the manifest says of the quantizer: the most common cell, and those that differ."""
    cells = [quantizer.cells[name] for name in names]
    common = max(set(cells), key=cells.count) if cells else 1.0
    return Quantization(
        cell=common,
        cells={name: cell for name, cell in zip(names, cells, strict=True) if cell != common},
        codebook=len(quantizer.codebook) // 2,
        seed=quantizer.seed,
    )


def _stored_tiles(compressed: CompressedNetwork) -> int | dict[str, int]:
    """m of the eligible convolutions, by node name; one number if all of them have the same."""
    eligible = [node.name for node in compressed.graph.nodes if winograd_eligible(node)]
    m = {name: compressed.winograd_m[name] for name in eligible if name in compressed.winograd_m}
    if len(set(m.values())) == 1 and len(m) == len(eligible):
        return next(iter(m.values()))
    return m


def decode_dual(content: bytes, where: str) -> DualModel:
    """The model in the bytes of a file.  Raises InputError that begins with ``where``."""
    try:
        model = _decode(*_open(content))
    except DamagedFile as error:
        raise InputError(f"{where}: {error}") from None
    return replace(model, file_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _open(content: bytes) -> tuple[Manifest, bytes, bytes]:
    """The manifest and the members ``weights`` and ``values``.

    What they decode to is plausible in size.
    """
    members = unpack(content, MAX_MANIFEST_BYTES)
    expected = ["manifest.json", "weights", "values"]
    if list(members) not in (expected, [*expected, "digest"]):
        raise DamagedFile(f"members are {', '.join(members)[:200]}, expected {', '.join(expected)}")
    if "digest" in members and members["digest"] != _digest(members):
        raise DamagedFile("damaged: the digest of the members differs")
    manifest = parse_manifest(members["manifest.json"])
    if (manifest.version > 1) != ("digest" in members):
        raise DamagedFile(f"manifest.json: version {manifest.version}, expected 2 to 4 with a member digest, else 1")
    shapes = manifest.graph.parameters
    weights = [shapes[name] for name in manifest.weight_names]
    coded = sum(map(math.prod, weights))
    others = sum(map(math.prod, shapes.values())) - coded
    steps = static_steps(weights) if manifest.coder == "static" else coding_steps(weights)
    plausible = NUMBERS_PER_BYTE * len(content)
    most = len(content) // BYTES_PER_STEP + FREE_STEPS
    for found, free in ((coded, FREE_WEIGHTS[manifest.coder]), (others, FREE_NUMBERS)):
        if found > plausible + free:
            raise DamagedFile(
                f"manifest.json: {found} parameters, a file of {len(content)} bytes has at most {plausible + free}"
            )
    if steps > most:
        raise DamagedFile(f"manifest.json: {steps} steps of decoding, {len(content)} bytes have at most {most}")
    if manifest.version == 1 and (sum(map(math.prod, weights)) > UNDIGESTED_WEIGHTS or steps > UNDIGESTED_STEPS):
        raise DamagedFile("manifest.json: version 1, expected 2 with a member digest for a network of this size")
    return manifest, members["weights"], members["values"]


def _decode(manifest: Manifest, weights: bytes, values: bytes) -> DualModel:
    graph = manifest.graph
    L = manifest.quantization.codebook
    value_names = manifest.value_names
    density_names = manifest.density_names
    parts = _decode_values(manifest, values)
    offsets = parts[0]
    numbers = parts[1 : 1 + len(value_names)]
    shares = parts[1 + len(value_names) :]
    if any(np.abs(q).max(initial=0) >= 1 << (manifest.values.bits - 1) for q in numbers):
        limit = manifest.values.bits
        raise DamagedFile(f"damaged values: a number has more than the {limit} bits the manifest states")
    steps = manifest.values.density_steps
    if any(q.min(initial=0) < 0 or q.max(initial=0) > steps for q in shares):
        raise DamagedFile("damaged values: an input density is not in 0..1")
    indices, bits = _decode_weights(manifest, weights)
    quantizer = Quantizer(
        cells={name: manifest.cell(name) for name in indices},
        codebook=plain_codebook(L) + offsets * CODEBOOK_UNIT if L else np.zeros(0),
        seed=manifest.quantization.seed,
    )
    arrays = {}
    weights_of = list(indices)
    for name, shape in graph.parameters.items():
        if name in indices:
            # which go as the weights come
            arrays[name] = _weights(quantizer, name, indices.pop(name))
        else:
            q = numbers[value_names.index(name)].reshape(shape)
            arrays[name] = (q * 2.0 ** manifest.values.exponents[name]).astype(np.float32)
    return DualModel(
        network=Network(graph, arrays),
        winograd_m=manifest.tile_sizes,
        winograd_threshold=manifest.winograd.threshold,
        input_density={
            name: (q / np.float64(steps)).astype(np.float32) for name, q in zip(density_names, shares, strict=True)
        },
        accuracy=manifest.accuracy,
        provenance=manifest.provenance,
        parameters=manifest.parameters,
        calibrations=tuple(manifest.calibrations),
        coded_bits={name.removesuffix(".weight"): count for name, count in zip(weights_of, bits, strict=True)},
    )


def _decode_values(manifest: Manifest, content: bytes) -> list[Levels]:
    """The integers of the codebook, of each array of values and of each layer's input densities."""
    graph = manifest.graph
    L = manifest.quantization.codebook
    names = manifest.value_names
    densities = manifest.density_names
    channels = [_input_channels(graph, name) for name in densities]
    lengths = [2 * L + 1 if L else 0, *(math.prod(graph.parameters[name]) for name in names), *channels]
    return decode_numbers(content, lengths, _kinds(names, len(densities)), joined=manifest.coder == "static")


def _decode_weights(manifest: Manifest, content: bytes) -> tuple[dict[str, Levels], list[int]]:
    """Indices of each weight array, by name, and the bits of each."""
    names = manifest.weight_names
    tensors, bits = decode(content, [manifest.graph.parameters[name] for name in names], manifest.coder)
    for name, n in zip(names, tensors, strict=True):
        if max(int(n.max(initial=0)), -int(n.min(initial=0))) > MAX_LEVEL:
            raise DamagedFile(f"damaged: {name} holds an index beyond {MAX_LEVEL}")
    return dict(zip(names, tensors, strict=True)), bits


def _kinds(value_names: list[str], densities: int) -> list[int]:
    """Which statistics the parts of ``values`` share.

    Codebook, scales, shifts and biases, densities.
    """
    return [0, *(1 if name.endswith(".weight") else 2 for name in value_names), *[3] * densities]


def _weights(quantizer: Quantizer, name: str, n: Levels) -> Array:
    try:
        with np.errstate(over="ignore"):  # checked below
            weights = quantizer.decode(name, n)
    except ValueError as error:
        raise DamagedFile(f"weights: {error}") from None
    if not np.isfinite([weights.min(initial=0), weights.max(initial=0)]).all():  # NaN is either
        raise DamagedFile(f"weights: {name} is not finite at cell size {quantizer.cells[name]}")
    return weights


def _input_channels(graph: Graph, name: str) -> int:
    return graph.shapes[graph.node(name).inputs[0]][-1]


def _codebook_integers(quantizer: Quantizer) -> Levels:
    L = len(quantizer.codebook) // 2
    if not L:
        return np.zeros(0, np.int32)
    return np.rint((quantizer.codebook - plain_codebook(L)) / CODEBOOK_UNIT).astype(np.int32)
