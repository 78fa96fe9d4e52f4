"""How sure a mean over some images is: what a verdict allows for."""

import numpy as np

from accelsim.arrays import Floats

CONFIDENCE = 1.645  # standard errors: 95 %, one-sided


def held(loss: float | None, error: float | None, tolerance: float) -> bool | None:
    """Whether images show no loss above the tolerance; None where the loss or its standard error is not known."""
    if loss is None or error is None:
        return None
    return loss - CONFIDENCE * error <= tolerance


def standard_error(lost: Floats) -> float | None:
    """Standard error of the mean of what is lost of each image, (N,).

    None of one image, which does not say how much others differ.
    """
    return float(lost.std() / np.sqrt(len(lost))) if len(lost) > 1 else None
