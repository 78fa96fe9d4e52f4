"""The search for cheap words on images of a file.

Answers of a classifier, or PSNR of a network that gives pictures.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from accelsim.datapath.pictures import TOLERANCE_DB, gives_pictures, of_size, psnr_of_outputs
from accelsim.datapath.runs import float_outputs
from accelsim.datapath.validate import INTEGER_TOLERANCE_POINTS, check, right_answers
from accelsim.datapath.widths import IMAGES, FoundWidths, search_widths
from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath
from accelsim.network.images import LabelledImages, PicturePairs, read_images, read_pairs


def search(
    model: DualModel, datapaths: Sequence[Datapath], images: Path, tolerance: float | None = None
) -> list[FoundWidths]:
    """Each machine's cheapest words on the first IMAGES images of a file or folder.

    tolerance: in points of top-1 below the uncompressed network (by default 1), or in dB of PSNR
    (by default 0.2); where its answers are not known, below the decoded network in float32.  Raises
    InputError if the images do not fit.
    """
    if gives_pictures(model):
        allowed = TOLERANCE_DB if tolerance is None else tolerance
        return _of_pictures(model, datapaths, read_pairs(images), allowed)
    labelled = read_images(images, model.network.graph.input_shape[:2])
    allowed = INTEGER_TOLERANCE_POINTS if tolerance is None else tolerance
    return _of_answers(model, datapaths, labelled, allowed)


def _of_answers(
    model: DualModel, datapaths: Sequence[Datapath], images: LabelledImages, tolerance: float
) -> list[FoundWidths]:
    """The search of a classifier, judged by its answers."""
    check(model, datapaths, images)
    pixels = images.pixels[:IMAGES]
    score = partial(right_answers, images.labels[:IMAGES])
    if images.reference is None:
        reference = score(float_outputs(model.network, pixels, None))
    else:
        reference = 100.0 * (images.reference[:IMAGES] == images.labels[:IMAGES])
    return [search_widths(model, datapath, pixels, score, reference, tolerance) for datapath in datapaths]


def _of_pictures(
    model: DualModel, datapaths: Sequence[Datapath], pairs: PicturePairs, tolerance: float
) -> list[FoundWidths]:
    """Of a network that gives pictures."""
    model = of_size(model, datapaths, pairs)
    scale = model.network.graph.preprocessing.scale
    pixels = pairs.pixels[:IMAGES]
    score = partial(psnr_of_outputs, pairs.targets[:IMAGES], scale)
    if pairs.reference is None:
        reference = score(float_outputs(model.network, pixels, None))
    else:
        reference = psnr_of_outputs(pairs.targets[:IMAGES], 1.0, pairs.reference[:IMAGES])
    return [search_widths(model, datapath, pixels, score, reference, tolerance) for datapath in datapaths]
