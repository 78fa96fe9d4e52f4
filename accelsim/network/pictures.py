"""One picture from a stranger's file.

Of a known format, its size looked at before its pixels are decoded.

Pillow knows dozens of formats, some of which start other programs (EPS runs Ghostscript); only
those of ``FORMATS`` are read, whatever the file's name ends in.  What 8 bits a colour and channel
cannot say is refused and not rounded away.  Pixels lie as they are stored: a camera's note that a
JPEG should be turned (EXIF) is left alone, as networks are trained (torchvision's ImageFolder,
Keras).
"""

import logging
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from accelsim.errors import InputError
from accelsim.files import PICTURE, opened

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs is told in our one line
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF")
# Pillow's names of what becomes RGB
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
MAX_PIXELS = 1 << 26
BITS_PER_SAMPLE = 258  # a TIFF file's tag


def read_picture(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8, RGB.

    size: the (H, W) that it must have.  Raises InputError if the file cannot be read or is no such
    picture.
    """
    with opened(path, PICTURE) as stream:
        return decode(stream, str(path), size)


def decode(stream: BinaryIO, where: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8, RGB, in a stream.

    Raises InputError that begins with ``where``.
    """
    try:
        with warnings.catch_warnings():
            # of damaged notes beside the pixels, which nobody reads here
            warnings.simplefilter("ignore")
            image = Image.open(stream, formats=FORMATS)
            with image:
                if image.format == "TIFF":  # where the pixels' own sizes are such notes
                    warnings.simplefilter("error", UserWarning)
                _check(image, where, size)
                return _pixels(image, where)
    except UnidentifiedImageError:
        raise InputError(f"{where}: no picture, expected one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{where}: far too many pixels, expected at most {MAX_PIXELS}") from None
    except (
        UserWarning,
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        zlib.error,
        ArithmeticError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: a damaged picture ({' '.join(str(error).split())[:100]})") from None


def _pixels(image: Image.Image, where: str) -> NDArray[np.uint8]:
    """The picture (H, W, 3), RGB.  Raises InputError if some of it is transparent."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        if pixels[..., 3].min() < 255:
            raise InputError(f"{where}: transparent pixels, expected an opaque picture")
        return pixels[..., :3]
    return np.asarray(image.convert("RGB"))


def _check(image: Image.Image, where: str, size: tuple[int, int] | None) -> None:
    """What the header alone says."""
    H = image.height
    W = image.width
    if size is not None and (H, W) != size:
        raise InputError(f"{where}: {H} x {W} pixels, expected {size[0]} x {size[1]}")
    if H * W > MAX_PIXELS or not H * W:
        raise InputError(f"{where}: {H} x {W} pixels, expected at most {MAX_PIXELS}")
    if image.mode.startswith(("I", "F")) or _deep(image):
        raise InputError(f"{where}: over 8 bits a colour, expected 8")
    if image.mode not in MODES:
        raise InputError(f"{where}: colours as {image.mode}, expected one of {', '.join(MODES)}")
    try:
        image.seek(1)  # to count them is to read them all
    except EOFError:
        return
    raise InputError(f"{where}: several pictures in one file, expected one")


def _deep(image: Image.Image) -> bool:
    """Whether the file has over 8 bits a colour, which Pillow rounds away: of PNG, TIFF and PPM."""
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ())
    if any(number > 8 for number in (bits if isinstance(bits, tuple) else (bits,))):
        return True
    for _, _, _, settings in getattr(image, "tile", ()):
        # Of the decoder: how a pixel is stored, or a PPM's largest number.
        for setting in settings if isinstance(settings, tuple) else (settings,):
            if ";16" in str(setting) or (image.format == "PPM" and isinstance(setting, int) and setting > 255):
                return True
    return False
