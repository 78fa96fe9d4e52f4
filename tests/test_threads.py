"""Work shared out among cores: the same answers in the same order, whatever cores there are."""

import threading

import numpy as np
import pytest

from accelsim.threads import COLUMNS, ahead, product


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_what_is_done_ahead_comes_in_order(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.threads.cores", lambda: cores)
    for most in (1, 3):
        assert list(ahead(lambda i: i * i, iter(range(7)), most)) == [0, 1, 4, 9, 16, 25, 36]
    assert list(ahead(abs, [])) == []


def test_the_next_one_is_done_while_the_caller_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.threads.cores", lambda: 2)
    begun = [threading.Event() for _ in range(4)]
    for i in ahead(lambda i: begun[i].set() or i, range(4)):
        assert i == 3 or begun[i + 1].wait(10)
        assert not any(later.is_set() for later in begun[i + 2 :])


@pytest.mark.parametrize("cores", [1, 2])
def test_what_goes_wrong_ahead_is_raised_in_its_turn(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.threads.cores", lambda: cores)
    shares = ahead(lambda i: 6 // i, [3, 2, 0, 1])
    assert [next(shares), next(shares)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(shares)


def test_errors_of_numbers_are_as_quiet_ahead_as_where_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.threads.cores", lambda: 2)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(ahead(lambda i: np.ones(1) / i, [0.0]))
    with np.errstate(divide="ignore"):
        assert np.isinf(next(iter(ahead(lambda i: np.ones(1) / i, [0.0]))))


def test_a_product_is_the_same_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for k in (1, COLUMNS, 2 * COLUMNS + 3):
        A, B = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((40, 30), (30, k)))
        rough = rng.standard_normal((30, k), np.float32)
        found = []
        for cores in (1, 2, 3):
            monkeypatch.setattr("accelsim.threads.cores", lambda cores=cores: cores)
            np.testing.assert_array_equal(product(A, B), A.astype(np.int64) @ B.astype(np.int64))
            found.append(product(A, rough).tobytes())
        assert len(set(found)) == 1
