"""The geometry of the report's pictures as SVG path data: numbers alone, so nothing that a user typed gets in.

A picture's size does not grow with the frames: timelines are summed up in at most `BINS` bins, densities in a grid.
Legend: N frames, B bins, L lanes (classes or units), G cells of a side of the grid.
"""

import re

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 160
"""Bins of a timeline at most; a video with fewer rows has a bin a row."""
GRID = 20
"""Cells of a side of a density, each 0.1 wide: valence and arousal go from -1 to 1."""
LEAST = 5
"""Points of a column of cells from which its mean is drawn."""
LANE = 10
"""Height of a lane, in the units of its picture."""
SIDES = 8
"""Sizes of the squares of a density."""
HEIGHT = 200
"""Height of a line's picture, in its units: one is a hundredth of valence or arousal."""


def bins_of(rows: int) -> NDArray[np.int64]:
    """The bin (N,) of each of a video's rows: equally many rows a bin."""
    return np.arange(rows) * min(rows, BINS) // max(rows, 1)


def bin_means(bin_N: NDArray[np.int64], values_N: Floats) -> Floats:
    """The mean of each bin (B,), NaN values left out; NaN for a bin without any."""
    bins = int(bin_N[-1]) + 1
    known_N = ~np.isnan(values_N)
    sums_B = np.bincount(bin_N[known_N], values_N[known_N], minlength=bins)
    counts_B = np.bincount(bin_N[known_N], minlength=bins)
    return np.asarray(np.divide(sums_B, counts_B, out=np.full(bins, np.nan), where=counts_B > 0))


def bin_classes(bin_N: NDArray[np.int64], class_N: Floats, classes: int) -> NDArray[np.bool_]:
    """Which class (L, B) is the most frequent one of each bin; none for a bin of NaN alone, the first one on a tie."""
    bins = int(bin_N[-1]) + 1
    known_N = ~np.isnan(class_N)
    pairs = bin_N[known_N] * classes + class_N[known_N].astype(np.int64)
    counts_BL = np.bincount(pairs, minlength=bins * classes).reshape(bins, classes)
    first_BL = np.arange(classes) == counts_BL.argmax(axis=1)[:, None]
    return np.asarray((first_BL & (counts_BL > 0)).T)


def line(values_B: Floats) -> str:
    """A line through values in [-1, 1], 1 on top at 0 and -1 at `HEIGHT`; NaN breaks it, a value between NaN is a dot.

    Moves are relative and whole numbers, which is half as long; each is the difference of rounded places, so that the
    rounding does not add up.
    """
    parts, before = [], 0
    drawing = False
    for x, value in enumerate(values_B):
        if np.isnan(value):
            drawing = False
            continue
        y = round(HEIGHT / 2 * (1 - value))
        alone = not drawing and (x + 1 == len(values_B) or bool(np.isnan(values_B[x + 1])))
        parts.append(f"l1 {y - before}" if drawing else f"M{x}.5 {y}" + ("h0" if alone else ""))
        drawing, before = True, y
    return "".join(parts)


def lanes(active_LB: NDArray[np.bool_], *, at: int = LANE // 2) -> str:
    """A stroke along each lane wherever it is active, `at` below the lane's upper edge; the first lane is on top."""
    parts = []
    for lane, active_B in enumerate(active_LB):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], active_B.astype(np.int8), [0]])))
        parts += [
            f"M{start} {lane * LANE + at}h{stop - start}" for start, stop in zip(edges[::2], edges[1::2], strict=True)
        ]
    return "".join(parts)


def density(x_N: Floats, y_N: Floats) -> NDArray[np.int64]:
    """Counts (G, G) of points in [-1, 1]: row = x, column = y."""
    cells = [np.clip(((values_N + 1) / 2 * GRID).astype(np.int64), 0, GRID - 1) for values_N in (x_N, y_N)]
    return np.bincount(cells[0] * GRID + cells[1], minlength=GRID * GRID).reshape(GRID, GRID)


def squares(count_GG: NDArray[np.int64]) -> tuple[tuple[float, str], ...]:
    """Sides and places of squares, one a cell that holds points; the area stands for their number (a Hinton diagram).

    Size says what a colour would say, so the picture is read without one. Sides come in `SIDES` steps: those of one
    step are dots of a path, to be drawn with square ends as wide as the side. x goes right and y goes up.
    """
    step_GG = np.ceil(SIDES * np.sqrt(count_GG / max(int(count_GG.max()), 1))).astype(np.int64)
    found = []
    for step in range(1, SIDES + 1):
        places = zip(*np.nonzero(step_GG == step), strict=True)
        dots = "".join(f"M{x}.5 {GRID - 1 - y}.5h0" for x, y in places)
        found += [(step / SIDES, dots)] if dots else []
    return tuple(found)


def outlines(count_GG: NDArray[np.int64]) -> str:
    """The same squares as one path of closed lines."""
    parts = []
    for side, dots in squares(count_GG):
        for x, y in re.findall(r"M([\d.]+) ([\d.]+)", dots):
            left, top, length = _text(float(x) - side / 2), _text(float(y) - side / 2), _text(side)
            parts.append(f"M{left} {top}h{length}v{length}h-{length}z")
    return "".join(parts)


def mean_line(count_GG: NDArray[np.int64]) -> str:
    """The mean y of each column of cells that holds `LEAST` points or more, as a line over `squares`."""
    rows_G = count_GG.sum(axis=1)
    middle_G = np.arange(GRID) + 0.5
    mean_G = np.divide(count_GG @ middle_G, rows_G, out=np.full(GRID, np.nan), where=rows_G >= LEAST)
    points = [f"{_text(x + 0.5)} {_text(GRID - mean)}" for x, mean in enumerate(mean_G) if not np.isnan(mean)]
    return "M" + "L".join(points) if points else ""


def _text(value: float) -> str:
    """A number with at most two decimals, as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
