"""A pooling of concatenated maps in parts.

Each channel is pooled by itself, so each part can ride on its own layer.

Only where the machine's poolings ride, every one of the maps comes from a convolution of its own
that nobody else reads, and only convolutions and linear layers read the result.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from accelsim.hardware.parts import Post
from accelsim.workload import LayerWork

COMPUTE = ("conv", "linear")


def split_poolings(
    works: Sequence[LayerWork],
    post: Post,
) -> tuple[tuple[LayerWork, ...], tuple[int, ...]]:
    """The layers with such poolings in parts, and the number of the layer that each one is, or is a part of."""
    by_name = {work.name: work for work in works}
    readers = Counter(source for work in works for source in work.sources or ())
    parts: dict[str, list[LayerWork]] = {}
    for work in works:
        kinds = {other.kind for other in works if work.name in (other.sources or ())}
        carriers = [by_name.get(source) for source in work.sources or ()]
        if not post.pool or work.kind != "pool" or len(carriers) < 2 or not kinds <= set(COMPUTE):
            continue
        if all(c is not None and c.kind in COMPUTE and readers[c.name] == 1 for c in carriers):
            parts[work.name] = _parts(work, [c for c in carriers if c is not None])
    found: list[LayerWork] = []
    origin: list[int] = []
    for i, work in enumerate(works):
        some = parts.get(work.name) or [_reading_parts(work, parts)]
        found += some
        origin += [i] * len(some)
    return tuple(found), tuple(origin)


def _parts(work: LayerWork, carriers: Sequence[LayerWork]) -> list[LayerWork]:
    """The pooling of each carrier's channels."""
    found = []
    first = 0
    for carrier in carriers:
        channels = carrier.out_channels
        density = work.input_density[first : first + channels] if len(work.input_density) > 1 else work.input_density
        found.append(
            replace(
                work,
                name=f"{work.name} of {carrier.name}",
                in_channels=channels,
                out_channels=channels,
                input_density=density,
                sources=(carrier.name,),
            )
        )
        first += channels
    return found


def _reading_parts(work: LayerWork, parts: dict[str, list[LayerWork]]) -> LayerWork:
    """A layer that reads the parts where it read the whole."""
    if not any(source in parts for source in work.sources or ()):
        return work
    sources: list[str] = []
    for source in work.sources or ():
        sources += [part.name for part in parts[source]] if source in parts else [source]
    return work.reading(tuple(sources))
