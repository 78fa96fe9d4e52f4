"""Augmentation only moves, mirrors or covers pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accelsim.training.augment import augment
from tests.laws import law

FEW = law(30)


def images(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (n, 8, 6, 3)).astype(np.uint8)


def test_nothing_asked_nothing_changed() -> None:
    np.testing.assert_array_equal(augment(images(), np.random.default_rng(0)), images())


@FEW
@given(st.integers(0, 3), st.booleans(), st.integers(0, 2**32 - 1))
def test_every_image_is_a_shift_of_itself_or_of_its_mirror_image(crop: int, flip: bool, seed: int) -> None:
    before = images()
    after = augment(before, np.random.default_rng(seed), crop=crop, flip=flip)
    for old, new in zip(before, after, strict=True):
        padded = np.pad(old, ((crop, crop), (crop, crop), (0, 0)))
        windows = [padded[i : i + 8, j : j + 6] for i in range(2 * crop + 1) for j in range(2 * crop + 1)]
        if flip:
            windows += [window[:, ::-1] for window in windows]
        assert any(np.array_equal(new, window) for window in windows)


def test_half_are_mirrored() -> None:
    before = images(400)
    after = augment(before, np.random.default_rng(1), flip=True)
    same = (after == before).all(axis=(1, 2, 3)).sum()
    assert 150 < same < 250
    assert same + (after == before[:, :, ::-1]).all(axis=(1, 2, 3)).sum() == 400


def test_cutout_covers_at_most_a_square() -> None:
    before = images(50)
    changed = (augment(before, np.random.default_rng(2), cutout=4) != before).any(axis=3)
    for mask in changed:
        rows, columns = np.nonzero(mask)
        assert len(rows) == 0 or (np.ptp(rows) < 4 and np.ptp(columns) < 4)
    assert 0 < changed.mean() < 16 / 48
    assert changed.sum(axis=(1, 2)).max() == 4 * 4  # whole where it lies inside the image


def test_the_seed_decides() -> None:
    a, b, c = (augment(images(20), np.random.default_rng(s), crop=2, flip=True, cutout=3) for s in (5, 5, 6))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
