"""What a training run leaves on disk: the model, and the state to go on from.

``checkpoint.safetensors``: every array of ``graph.parameters`` by its name, float32, nothing else.
``checkpoint.json``: ``format`` (1), ``network``, ``theta_sd``, ``theta_wd``, ``sparsity_sd``,
    ``sparsity_wd``, ``winograd_m`` (by layer), ``relative_cells`` (by weight array, of a network
    reconstructed to a budget), ``recipe`` (as read), ``seed``, ``epochs``, ``hours``,
    ``accuracy`` (percent: ``unpruned``, ``spatial``, ``winograd``), ``images`` (that
    they were measured on), ``sha256`` of the safetensors.
``state.safetensors``: flat vectors of parameters and optimiser, batch-norm statistics; its header's
metadata carries
    the step, the network and the recipe, and ``sha256`` of all.

Every file is replaced in one rename, and ``state`` alone decides where a resumed run starts.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.files import CARD as CARD_FILE
from accelsim.files import SAFETENSORS, opened, read_bytes, read_text, write_bytes, write_text
from accelsim.files import STATE as STATE_FILE

STATE = "state.safetensors"
MODEL = "checkpoint.safetensors"
CARD = "checkpoint.json"


def save_state(folder: Path, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> None:
    """Write the state of a run.  notes: anything JSON can hold."""
    content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(notes, sort_keys=True)
    # One value: the format does not say in which order several are written.
    write_bytes(folder / STATE, save(content, {"state": f"{_digest(content, text)} {text}"}))


def _digest(arrays: Mapping[str, Array], notes: str) -> str:
    """SHA-256 of all that a state holds: a bit that flips on disk would only make other weights."""
    digest = hashlib.sha256(notes.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def digest_of(**networks: Mapping[str, Array]) -> str:
    """SHA-256 of the arrays of some networks, by what they are to a run."""
    return _digest({f"{what}.{name}": a for what, arrays in networks.items() for name, a in arrays.items()}, "")


def load_state(folder: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, notes) of a run's state.  Raises InputError if there is none that can be read."""
    path = folder / STATE
    try:
        with opened(path, STATE_FILE), safe_open(path, framework="np") as content:
            stated, _, text = (content.metadata() or {})["state"].partition(" ")
            if stated.startswith("{"):  # older states have no sum
                text = f"{stated} {text}"
                stated = ""
            notes = json.loads(text)
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not the state of a training run ({' '.join(str(error).split())[:200]})") from None
    if stated not in ("", _digest(arrays, text)):
        raise InputError(f"{path}: damaged (sha256), expected the state as it was written")
    if not isinstance(notes, dict):
        raise InputError(f"{path}: not the state of a training run (its notes are no record)")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path}: array {name!r} holds NaN or infinity, expected the state of a sound run")
    return arrays, notes


def save_model(folder: Path, arrays: Mapping[str, Array], card: Mapping[str, Any]) -> None:
    """Write ``checkpoint.safetensors`` and ``checkpoint.json``."""
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_bytes(folder / MODEL, content)
    full = {"format": 1, **card, "sha256": hashlib.sha256(content).hexdigest()}
    write_text(folder / CARD, json.dumps(full, indent=1, sort_keys=True) + "\n")


def relative_cells(notes: Mapping[str, Any]) -> dict[str, float]:
    """The cells that a card or a state gives single weight arrays.

    Relative to their root mean square; empty if it gives none.

    Raises ValueError if one is no positive number.
    """
    found = notes.get("relative_cells", {})
    sound = isinstance(found, dict) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) and 0 < cell < np.inf for cell in found.values()
    )
    if not sound:
        raise ValueError(f"relative_cells: {str(found)[:60]}, expected a positive number for each weight array")
    return {name: float(cell) for name, cell in found.items()}


def check_card(weights: Path, notes: Mapping[str, Any]) -> None:
    """Raise InputError if what a card says is about other weights than those beside it."""
    stated = notes.get("sha256")
    if stated is not None and stated != hashlib.sha256(read_bytes(weights, SAFETENSORS)).hexdigest():
        card = weights.with_name(CARD)
        raise InputError(f"{weights}: not the weights that {card} is about (sha256), expected a checkpoint of one run")


def cells_beside(weights: Path) -> dict[str, float]:
    """The relative cells of the run that left these weights, from the card beside them.

    Raises InputError if the card cannot be read, or is about other weights.
    """
    card = weights.with_name(CARD)
    if weights.name != MODEL or not card.exists():
        return {}
    try:
        notes = json.loads(read_text(card, CARD_FILE))
        cells = relative_cells(notes)
        check_card(weights, notes)
        return cells
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{card}: not a checkpoint's card ({error})") from None
