"""Where maps lie: the search against all placements there are, one address at a time."""

from itertools import product
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.network.addresses import Resident, place
from accelsim.simulator.network.places import DRAM, Problem, Setting, Use, assign
from tests.laws import law


@st.composite
def problems(draw: st.DrawFn, memories: int = 1) -> Problem:
    """Up to 8 maps; each group reads the latest map, now and then another, and an older one beside."""
    groups = draw(st.integers(1, 8))
    uses = []
    for t in range(groups):
        reads = (t - 1,) if t else (groups,)
        if t > 1 and draw(st.booleans()):
            reads = (draw(st.integers(0, t - 1)),)
        operands = (draw(st.integers(0, t - 1)),) if t > 1 and draw(st.booleans()) else ()
        uses.append(Use(reads, operands, t))
    read = {m for use in uses for m in (*use.reads, *use.operands)}
    sizes = tuple(draw(st.integers(1, 5)) for _ in range(groups))
    capacities = tuple(draw(st.integers(3, 8)) for _ in range(memories))
    pinned = frozenset({groups} | {t for t in range(groups) if t not in read})
    return Problem(tuple(uses), (*sizes, 0), pinned, capacities)


def cost(problem: Problem, t: int, setting: Setting) -> float:
    """Bytes moved, and what tiles cost in little room: never more with more room, or with more on chip."""
    use = problem.uses[t]
    moved = sum(problem.sizes[m] for m, at in zip(use.reads, setting.reads, strict=True) if at == DRAM)
    moved += sum(problem.sizes[m] for m, at in zip(use.operands, setting.operands, strict=True) if at == DRAM)
    moved += problem.sizes[use.writes] * (setting.writes == DRAM)
    room = min(setting.rooms)
    if room < t % 2:  # every other group needs room for tiles
        return inf
    return moved + (3 if room < 2 else 1 if room < 4 else 0)


def fits(problem: Problem, on_chip: list[int], capacity: int) -> bool:
    """Whether the maps find addresses, every one tried for every map."""
    placed: list[tuple[int, int]] = []

    def born(m: int) -> int:
        return next(t for t, use in enumerate(problem.uses) if use.writes == m)

    def extend(i: int) -> bool:
        if i == len(on_chip):
            return True
        m = on_chip[i]
        for address in range(capacity - problem.sizes[m] + 1):
            clash = any(
                born(m) <= problem.dies[o] and born(o) <= problem.dies[m]
                and at < address + problem.sizes[m] and address < at + problem.sizes[o]
                for o, at in placed
            )  # fmt: skip
            if not clash:
                placed.append((m, address))
                if extend(i + 1):
                    return True
                placed.pop()
        return False

    return extend(0)


def best_by_hand(problem: Problem) -> float:
    """The least cost of all placements in one memory."""
    (capacity,) = problem.capacities
    maps = [m for m in range(len(problem.uses)) if m not in problem.pinned]
    least = inf
    for chosen in product((False, True), repeat=len(maps)):
        on_chip = [m for m, there in zip(maps, chosen, strict=True) if there]
        total = 0.0
        for t, use in enumerate(problem.uses):
            living = [m for m in on_chip if m <= t <= problem.dies[m]]
            room = capacity - sum(problem.sizes[m] for m in living)
            if room < 0:
                total = inf
                break
            places = [tuple(int(m in on_chip) for m in some) for some in (use.reads, use.operands)]
            total += cost(problem, t, Setting(*places, int(use.writes in on_chip), (room,), 1))
        if total < least and fits(problem, on_chip, capacity):
            least = total
    return least


def search(problem: Problem) -> tuple[float, dict[int, int], dict[int, int]]:
    """What ``assign`` finds when it knows nothing before it asks."""
    known: dict[tuple[int, Setting], float] = {}

    def score(t: int, setting: Setting) -> tuple[float, bool]:
        return (known[t, setting], True) if (t, setting) in known else (0.0, False)

    def compute(t: int, setting: Setting) -> None:
        known[t, setting] = cost(problem, t, setting)

    found = assign(problem, score, compute)
    return found.score, found.places, found.addresses


@law(150)
@given(problems())
def test_no_placement_is_better(problem: Problem) -> None:
    score, _, _ = search(problem)
    assert score == best_by_hand(problem)


@law(150)
@given(st.integers(1, 2).flatmap(problems))
def test_no_two_living_maps_overlap(problem: Problem) -> None:
    _, places, addresses = search(problem)
    for m, at in addresses.items():
        assert 0 <= at <= problem.capacities[places[m] - 1] - problem.sizes[m]
        for other, there in addresses.items():
            alive = m < other <= problem.dies[m] or other < m <= problem.dies[other]
            if alive and places[m] == places[other]:
                assert at + problem.sizes[m] <= there or there + problem.sizes[other] <= at


@law(100)
@given(problems(), st.integers(1, 4))
def test_more_memory_never_costs(problem: Problem, more: int) -> None:
    larger = Problem(problem.uses, problem.sizes, problem.pinned, (problem.capacities[0] + more,))
    assert search(larger)[0] <= search(problem)[0]


@law(100)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 3)), max_size=6), st.integers(4, 9))
def test_addresses_are_found_where_there_are_any(maps: list[tuple[int, int, int]], capacity: int) -> None:
    """Against every address of every map."""
    items = [Resident(str(i), size, born, born + life) for i, (size, born, life) in enumerate(maps)]

    def any_way(i: int, placed: list[tuple[Resident, int]]) -> bool:
        if i == len(items):
            return True
        one = items[i]
        return any(
            any_way(i + 1, [*placed, (one, at)])
            for at in range(capacity - one.size + 1)
            if all(not one.meets(o) or at + one.size <= a or a + o.size <= at for o, a in placed)
        )

    assert (place(items, capacity) is not None) == any_way(0, [])
