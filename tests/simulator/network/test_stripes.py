"""Rows of stacks: every row that a stripe reads is there, kept rows are computed once, and buffers are no larger than
they must be; all by sets of rows, one by one.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.simulator.network.stripes import Rows, Stage, buffered_rows, cut, cut_with_lead


@st.composite
def stacks(draw: st.DrawFn) -> list[Stage]:
    """Chains of windows with shortcuts around some of them; strides, paddings, granules of all sizes."""
    size = draw(st.integers(4, 40))
    stages: list[Stage] = []
    for i in range(draw(st.integers(1, 5))):
        if i >= 2 and stages[-1].outputs == stages[-2].outputs and draw(st.booleans()):
            stages.append(Stage((i - 1, i - 2), size, size, 1, 1, 0, draw(st.sampled_from([1, 2, 4]))))
            continue
        reach = draw(st.integers(1, min(5, size)))
        stride = draw(st.integers(1, min(3, reach)))
        padding = draw(st.integers(0, (reach - 1) // 2))
        outputs = (size + 2 * padding - reach) // stride + 1
        stages.append(
            Stage((i - 1,) if i else (), size, outputs, stride, reach, padding, draw(st.sampled_from([1, 1, 2, 4])))
        )
        size = outputs
    return stages


MODES = st.sampled_from(["again", "kept", "kept with a lead"])


def stripes_of(stages: list[Stage], height: int, mode: str) -> list[list[Rows]]:
    """The stripes of a stack whose shared rows are computed again, or kept."""
    return cut_with_lead(stages, height) if "lead" in mode else cut(stages, height, keeps=mode == "kept")


def window(stage: Stage, row: int) -> set[int]:
    """Rows of input that a row of output reads, each by itself."""
    top = row * stage.stride - stage.padding
    return {y for y in range(top, top + stage.reach) if 0 <= y < stage.size}


def read(stage: Stage, rows: Rows) -> set[int]:
    """Rows of input that rows of output read."""
    return {y for row in range(*rows) for y in window(stage, row)}


@settings(max_examples=300, deadline=None)
@given(stacks(), st.integers(1, 12), MODES)
def test_every_row_is_there_when_it_is_read(stages: list[Stage], height: int, mode: str) -> None:
    stripes = stripes_of(stages, height, mode)
    keeps = mode != "again"
    there: list[set[int]] = [set() for _ in stages]
    for rows in stripes:
        for i, stage in enumerate(stages):
            mine = set(range(*rows[i]))
            if keeps:
                assert not there[i] & mine  # none is computed twice
                there[i] |= mine
            else:
                there[i] = mine
            for source in stage.reads:
                assert read(stage, rows[i]) <= there[source]
    assert [row for rows in stripes for row in range(*rows[-1])] == list(range(stages[-1].outputs))
    if keeps:
        assert all(there[i] == set(range(stage.outputs)) for i, stage in enumerate(stages))


@settings(max_examples=300, deadline=None)
@given(stacks(), st.integers(1, 12), MODES)
def test_a_buffer_holds_what_is_read_later_and_no_more(stages: list[Stage], height: int, mode: str) -> None:
    """Of each stage: the rows that any later row still reads, when a stripe's new ones are there."""
    stripes = stripes_of(stages, height, mode)
    keeps = mode != "again"
    for i in range(len(stages) - 1):
        readers = [j for j, stage in enumerate(stages) if i in stage.reads]
        most = 0
        for number, rows in enumerate(stripes):
            if keeps:
                later = [read(stages[j], Rows(rows[j].first, stages[j].outputs)) for j in readers]
                first = min(min(of_reader, default=rows[i].end) for of_reader in later)
                there = set(range(min(first, rows[i].end), rows[i].end))
                assert number == 0 or all(y < rows[i].first for y in there - set(range(*rows[i])))
            else:
                there = set(range(*rows[i]))
            most = max(most, len(there))
        # Rows below the last window of a stride are nobody's, and may lie there.
        loose = max(stages[j].stride + stages[j].size for j in readers)
        assert most <= buffered_rows(stages, stripes, i, keeps) <= most + loose * (not _exact(stages, readers))


def _exact(stages: list[Stage], readers: list[int]) -> bool:
    """Whether the windows of all readers reach to the last row."""
    return all(read(stages[j], Rows(0, stages[j].outputs)) == set(range(stages[j].size)) for j in readers)


@settings(max_examples=200, deadline=None)
@given(stacks(), st.integers(1, 12), st.booleans())
def test_kept_stripes_are_whole_granules(stages: list[Stage], height: int, leads: bool) -> None:
    for rows in cut_with_lead(stages, height) if leads else cut(stages, height, keeps=True):
        for stage, mine in zip(stages[:-1], rows[:-1], strict=True):
            assert mine.end % stage.granule == 0 or mine.end == stage.outputs
            assert mine.first % stage.granule == 0 or mine.height == 0


def test_two_3x3_layers_in_stripes_of_four_rows() -> None:
    """By hand: 12 rows in; the first layer is one row ahead of the second, whose window needs two rows again."""
    stages = [Stage((), 12, 12, 1, 3, 1), Stage((0,), 12, 12, 1, 3, 1)]
    kept = cut(stages, 4, keeps=True)
    assert [rows[0] for rows in kept] == [(0, 5), (5, 9), (9, 12)]
    assert buffered_rows(stages, kept, 0, keeps=True) == 6
    again = cut(stages, 4, keeps=False)
    assert [rows[0] for rows in again] == [(0, 5), (3, 9), (7, 12)]
    assert buffered_rows(stages, again, 0, keeps=False) == 6


def test_five_3x3_layers_get_ahead_row_by_row() -> None:
    """By hand: without padding and a row a stripe, each layer is two rows ahead of the one behind it.

    So four stripes of one row each of the first two layers, and so on, come in front; no buffer holds more than three
    rows, where the first stripe would else compute nine rows of the first layer at once.
    """
    stages = [Stage((i - 1,) if i else (), 20 - 2 * i, 18 - 2 * i, 1, 3, 0) for i in range(5)]
    lead = cut_with_lead(stages, 1)
    assert [rows[0] for rows in lead] == [(row, row + 1) for row in range(18)]
    assert [rows[4] for rows in lead] == [(0, 0)] * 8 + [(row, row + 1) for row in range(10)]
    assert [buffered_rows(stages, lead, i, keeps=True) for i in range(4)] == [3, 3, 3, 3]
    assert buffered_rows(stages, cut(stages, 1, keeps=True), 0, keeps=True) == 9
