"""Super-resolution data: photographs, their luminance, and what reduction leaves of it.

It is reduced and enlarged bicubically.

The protocol is the field's own (Dong et al. 2014, Kim et al. 2016): Y of ITU-R BT.601 on its scale
of 16 to 235, files of one channel as they are; the image cut to a multiple of the scale; reduced,
then enlarged again, by Keys' cubic kernel (a = -1/2, R. Keys 1981), which is widened by the scale
when reducing, against aliasing, and mirrors the image at its edges (what MATLAB's imresize does).
PSNR (``psnr``) is of Y rounded to 8 bits, a border as wide as the scale left out.  Set14 has two
grey images; its published bicubic figures come out to 0.01 dB at x2, x3 and x4 if one of them
counts as a file of one channel, and as they are equal otherwise, it is ``bridge`` here.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from accelsim.arrays import Array, Floats, Ints
from accelsim.errors import InputError
from accelsim.files import ARCHIVE, PICTURE, opened
from accelsim.network.graph import Graph
from accelsim.network.npz import DAMAGED
from accelsim.network.pictures import decode
from accelsim.training.recipe import Data

Plane = Array  # (H, W), 0 to 255
MOST_PIXELS = 1 << 26  # of an archive's images together
MOST_SIDE = 4096  # pixels of an image, each way: what resizes it has their square
TRAINING = "train91"
TEST = ("set5", "set14")
ONE_CHANNEL = ("bridge",)  # file names without suffix


@dataclass(frozen=True)
class Patches:
    """Training patches, cut when taken."""

    low: tuple[Plane, ...]  # of each image, reduced and enlarged again
    high: tuple[Plane, ...]  # of each image, as it is
    corners: Ints  # (N, 3) image, top row and left column of each patch
    side: int  # of a patch, in pixels

    def __len__(self) -> int:
        return len(self.corners)

    def pairs(self, index: Ints, rng: np.random.Generator | None = None) -> tuple[Plane, Plane]:
        """The low and high patches at ``index``, (N, side, side, 1) float32.

        With an rng in one of 8 orientations each.
        """
        turns = np.zeros(len(index), np.int64) if rng is None else rng.integers(0, 8, len(index))
        out = np.empty((2, len(index), self.side, self.side, 1), np.float32)
        for n, (i, turn) in enumerate(zip(index.tolist(), turns.tolist(), strict=True)):
            image, top, left = self.corners[i]
            for part, planes in enumerate((self.low, self.high)):
                patch = planes[image][top : top + self.side, left : left + self.side]
                out[part, n, :, :, 0] = np.rot90(patch.T if turn & 4 else patch, turn & 3)
        return out[0], out[1]

    def first(self, count: int) -> "Patches":
        """The first ``count`` patches."""
        return Patches(self.low, self.high, self.corners[:count], self.side)


@dataclass(frozen=True)
class Photographs:
    """The test images by set."""

    low: dict[str, dict[str, Plane]]  # by set and file name, reduced and enlarged again
    high: dict[str, dict[str, Plane]]  # by set and file name, as they are
    scale: int  # of the reduction

    def __len__(self) -> int:
        return sum(map(len, self.low.values()))

    def only(self, names: tuple[str, ...]) -> "Photographs":
        """The images of these sets alone."""
        low, high = ({name: planes[name] for name in names} for planes in (self.low, self.high))
        return Photographs(low, high, self.scale)


def super_resolver(graph: Graph, side: int, source: str) -> Graph:
    """The network on patches of that side.

    Raises InputError, begun with ``source``, if it does not map Y to Y.
    """
    shape = (side, side, 1)
    try:
        part = graph.with_input_shape(shape)
    except ValidationError:
        part = graph
    if part.shapes[part.nodes[-1].name] != shape:
        raise InputError(f"{source}: {graph.name}, expected a super-resolution network (one channel in, one out)")
    return part


def training_patches(data: Data, path: Path) -> Patches:
    """Patches of ``train91.zip``, half a patch apart.  Raises InputError."""
    low = []
    high = []
    corners = []
    for index, (_, plane) in enumerate(read_planes(path / f"{TRAINING}.zip", data.scale).items()):
        high.append(plane)
        low.append(degrade(plane, data.scale))
        tops, lefts = (np.arange(0, size - data.patch + 1, max(data.patch // 2, 1)) for size in plane.shape)
        grid = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
        corners.append(np.column_stack([np.full(len(grid), index), grid]))
    patches = Patches(tuple(low), tuple(high), np.concatenate(corners), data.patch)
    if not len(patches):
        fault = f"no image holds a patch of {data.patch} pixels, expected larger ones"
        raise InputError(f"{path / TRAINING}.zip: {fault}")
    return patches if data.limit is None else patches.first(data.limit)


def photographs(data: Data, path: Path, names: tuple[str, ...] = TEST) -> Photographs:
    """The images of ``set5.zip`` and ``set14.zip``.  Raises InputError."""
    high = {name: read_planes(path / f"{name}.zip", data.scale) for name in names}
    low = {name: {file: degrade(y, data.scale) for file, y in planes.items()} for name, planes in high.items()}
    return Photographs(low, high, data.scale)


def read_planes(path: Path, scale: int) -> dict[str, Plane]:
    """Luminance by file name of a zip archive's images, cut to a multiple of the scale.

    Raises InputError, also for an image of which nothing is left without a border as wide as the
    scale, for one of over ``MOST_SIDE`` pixels, and for more than ``MOST_PIXELS`` together.  Folders
    among them are passed over.
    """
    planes: dict[str, Plane] = {}
    pixels_left = MOST_PIXELS
    try:
        with opened(path, ARCHIVE) as stream, zipfile.ZipFile(stream) as archive:
            for name in sorted(name for name in archive.namelist() if not name.endswith("/")):
                if name in planes:
                    raise InputError(f"{path}: two images are called {name[:100]!r}, expected one")
                if archive.getinfo(name).file_size > PICTURE.most_bytes:
                    raise InputError(f"{path}: {name[:100]!r} is over {PICTURE.most_bytes} bytes")
                pixels = decode(io.BytesIO(archive.read(name)), f"{path}: {name}")
                pixels_left -= pixels.shape[0] * pixels.shape[1]
                if pixels_left < 0:
                    raise InputError(f"{path}: images of over {MOST_PIXELS} pixels together, expected fewer")
                if not 3 * scale <= min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= MOST_SIDE:
                    size = f"{pixels.shape[0]} x {pixels.shape[1]}"
                    expected = f"{3 * scale} to {MOST_SIDE} each way"
                    raise InputError(f"{path}: {name[:100]!r} is {size} pixels, expected {expected}")
                y = pixels[..., 0].astype(np.float32) if Path(name).stem in ONE_CHANNEL else luminance(pixels)
                planes[name] = y[: y.shape[0] // scale * scale, : y.shape[1] // scale * scale]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected a zip archive of images") from None
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error}, expected a zip archive of images") from None
    if not planes:
        raise InputError(f"{path}: holds no images")
    return planes


def luminance(pixels: NDArray[np.uint8]) -> Plane:
    """Y of ITU-R BT.601, 16 to 235, rounded.  pixels: (H, W, 3) uint8, RGB -> (H, W) float32."""
    y = 16 + pixels.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255)
    return np.floor(y + 0.5).astype(np.float32)


def degrade(plane: Plane, scale: int) -> Plane:
    """The plane reduced by the scale and enlarged to its own size again.

    Its sides are multiples of the scale.
    """
    H, W = plane.shape
    small = resize(plane.astype(np.float64), (H // scale, W // scale))
    return resize(small, (H, W)).astype(np.float32)


def resize(plane: Floats, size: tuple[int, int]) -> Floats:
    """Bicubic: (H, W) -> size."""
    rows, columns = (cubic_matrix(have, want) for have, want in zip(plane.shape, size, strict=True))
    return rows @ plane @ columns.T


def cubic_matrix(have: int, want: int) -> Floats:
    """What each of ``want`` samples takes from each of ``have``: (want, have), rows sum to 1."""
    ratio = want / have
    squeeze = min(ratio, 1.0)  # the kernel's; it is 4 samples wide, more when reducing
    centre = (np.arange(want) + 0.5) / ratio - 0.5
    reach = int(np.ceil(4 / squeeze)) + 2
    taps = np.floor(centre - 2 / squeeze)[:, None].astype(np.int64) + np.arange(reach)
    x = np.abs(centre[:, None] - taps) * squeeze
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = taps % (2 * have)
    mirrored = np.where(mirrored < have, mirrored, 2 * have - 1 - mirrored)
    matrix = np.zeros((want, have))
    np.add.at(matrix, (np.arange(want)[:, None], mirrored), weights)
    return matrix
