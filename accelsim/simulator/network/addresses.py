"""Addresses for feature maps in one on-chip memory: no two that live at the same time overlap.

First fit, in several orders: by birth, by size, by lifetime.  Where none of these finds room, and
there are few enough maps, every order is tried, of which one gives the best packing that there is
(any packing can be pushed down until each map lies on another or on the floor; placing the maps
from below then is first fit in that order).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

TRIES = 20_000  # placements of a map in the search over all orders


@dataclass(frozen=True)
class Resident:
    """A map that stays on chip."""

    name: str
    size: int  # bytes
    born: int  # number of the group that writes it
    dies: int  # number of the last group that reads it

    def meets(self, other: "Resident") -> bool:
        """Whether both live at some time."""
        return self.born <= other.dies and other.born <= self.dies


def place(maps: Sequence[Resident], capacity: int) -> dict[str, int] | None:
    """The first byte of each map; None if no placement was found."""
    orders: tuple[Callable[[Resident], tuple[int, ...]], ...] = (
        lambda m: (m.born, -m.size),
        lambda m: (-m.size, m.born),
        lambda m: (m.born - m.dies, -m.size),
    )
    for order in orders:
        found = _first_fit(sorted(maps, key=order), capacity)
        if found is not None:
            return found
    return _any_order(maps, capacity)


def _first_fit(maps: Iterable[Resident], capacity: int) -> dict[str, int] | None:
    """Each map at the lowest address that is free for its whole life."""
    placed: list[tuple[Resident, int]] = []
    for one in maps:
        address = _lowest(one, placed)
        if address + one.size > capacity:
            return None
        placed.append((one, address))
    return {one.name: address for one, address in placed}


def _lowest(one: Resident, placed: Sequence[tuple[Resident, int]]) -> int:
    address = 0
    for other, at in sorted(((o, at) for o, at in placed if o.meets(one)), key=lambda pair: pair[1]):
        if at >= address + one.size:
            break
        address = max(address, at + other.size)
    return address


def _any_order(maps: Sequence[Resident], capacity: int) -> dict[str, int] | None:
    """First fit in every order, until one fits or TRIES are used up."""
    tries = 0

    def extend(
        placed: list[tuple[Resident, int]],
        left: list[Resident],
    ) -> list[tuple[Resident, int]] | None:
        nonlocal tries
        if not left:
            return placed
        for i, one in enumerate(left):
            tries += 1
            if tries > TRIES:
                return None
            address = _lowest(one, placed)
            if address + one.size > capacity:
                return None  # nor later: what is placed stays
            found = extend([*placed, (one, address)], left[:i] + left[i + 1 :])
            if found is not None:
                return found
        return None

    found = extend([], list(maps))
    return None if found is None else {one.name: address for one, address in found}
