"""Layout of a dataflow: places in rows, each below its predecessors."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mmjax.report.diagram.dataflow import Dataflow, Place

Stop = tuple
"""A place, or (from, to, row) where an arrow passes through a row."""

_WIRE = 0.4  # inches for a passing arrow in a row
_GAP = 0.25  # between two places of a row
_BETWEEN = 0.5  # between two rows


class Spot(NamedTuple):
    """The centre and the ends of a stop in inches; y is 0 at the top and negative below."""

    x: float
    top: float
    bottom: float


class Layout(NamedTuple):
    """The position of every stop.

    Attributes:
        spots: {stop: its position}.
        ways: the stops of each arrow.
        size: width and height of the diagram, in inches.
    """

    spots: dict[Stop, Spot]
    ways: list[list[Stop]]
    size: tuple[float, float]


def lay_out(flow: Dataflow, width: float, heights: Mapping[Place, float]) -> Layout:
    """Arranges the places in rows, with few crossing arrows.

    Args:
        flow: the places and the arrows between them.
        width: of a place, in inches.
        heights: of each place, in inches.
    """
    depth = _depths(flow)
    rows: list[list[Stop]] = [[] for _ in range(max(depth.values()) + 1)]
    for place in flow.nodes:
        rows[depth[place]].append(place)
    ways = []
    for start, end in flow.edges:
        wires = [(start, end, row) for row in range(depth[start] + 1, depth[end])]
        for wire in wires:
            rows[wire[2]].append(wire)
        ways.append([start, *wires, end])
    rows = _uncross(rows, ways)
    space = lambda stop: _WIRE if len(stop) == 3 else width + _GAP
    widest = max(sum(map(space, row)) for row in rows)
    spots, top = {}, 0.0
    for row in rows:
        height = max(heights.get(stop, 0) for stop in row)
        x = (widest - sum(map(space, row))) / 2
        for stop in row:
            own = heights.get(stop, height)
            middle = top - height / 2
            spots[stop] = Spot(x + space(stop) / 2, middle + own / 2, middle - own / 2)
            x += space(stop)
        top -= height + _BETWEEN
    return Layout(spots, ways, (widest, -top - _BETWEEN))


def _depths(flow: Dataflow) -> dict[Place, int]:
    """The row of each place; one without predecessors, unless a modality, is just above its reader.

    Places are in the order of encounter: an arrow from a later one closes a cycle, such as where a
    module is used twice, and points up.
    """
    order = {place: i for i, place in enumerate(flow.nodes)}
    down = [way for way in flow.edges if order[way[0]] < order[way[1]]]
    depth: dict[Place, int] = {}
    for place in flow.nodes:
        depth[place] = max((depth[start] + 1 for start, end in down if end == place), default=0)
    for place in flow.nodes:
        if place[0] != "modality" and depth[place] == 0:
            readers = [depth[end] for start, end in down if start == place]
            depth[place] = min(readers, default=1) - 1
    return depth


def _uncross(rows: list[list[Stop]], ways: Sequence[list[Stop]]) -> list[list[Stop]]:
    """Orders each row by the mean position of its stops' neighbours in the next row.

    This sweeps up and down several times and keeps the order with the fewest crossings.
    Reference: Sugiyama et al., Methods for Visual Understanding of Hierarchical System Structures
    (IEEE TSMC 1981).
    """
    joints = [pair for stops in ways for pair in pairwise(stops)]
    joined = {frozenset(pair) for pair in joints}
    met = [[list(row) for row in rows]]
    for sweep in range(8):
        rows = [list(row) for row in rows]
        for before, row in pairwise(rows[::-1] if sweep % 2 else rows):
            where = {stop: (i + 0.5) / len(before) for i, stop in enumerate(before)}
            mean = {stop: (i + 0.5) / len(row) for i, stop in enumerate(row)}
            for stop in row:
                seen = [where[other] for other in before if frozenset((stop, other)) in joined]
                mean[stop] = float(np.mean(seen)) if seen else mean[stop]
            row.sort(key=mean.__getitem__)
        met.append(rows)
    return min(met, key=lambda rows: _crossings(rows, joints))


def _crossings(rows: list[list[Stop]], joints: Sequence[tuple[Stop, Stop]]) -> int:
    """The number of pairs of arrows that cross between neighbouring rows."""
    total = 0
    for above, below in pairwise(rows):
        ends = [(above.index(a), below.index(b)) for a, b in joints if a in above and b in below]
        total += sum(a < c and b > d for a, b in ends for c, d in ends)
    return total
