"""What the rows that a statistic counts may hold, and the check that they do.

Legend: N rows (frames), D columns.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abaw.tracks import Kind, Task

Floats = NDArray[np.float64]


class Rule(NamedTuple):
    """What counted rows may hold: their number of columns and the values allowed, as a test and in words."""

    width: int
    allowed: Callable[[Floats], NDArray[np.bool_]]
    text: str


@cache
def rule_of(kind: Kind, columns: tuple[str, ...]) -> Rule:
    """The label rule that `abaw.tracks` holds for this kind."""
    task = Task(name="", kind=kind, columns=columns, sentinel=np.nan)
    return Rule(len(task.label_columns), task.valid, task.range_text)


def checked_rows(
    given: Mapping[str, ArrayLike], mask: ArrayLike | None, rules: Mapping[str, Rule]
) -> dict[str, Floats]:
    """The arrays as float64, only the rows where the mask is true; ValueError where one does not keep its rule."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
    rows = len(arrays["true"]) if arrays["true"].ndim else 0
    for name, values in arrays.items():
        expected = (rows, rules[name].width)
        if values.shape != expected:
            raise ValueError(f"{name} has shape {values.shape}, expected (frames, columns) = {expected}")
    if mask is not None:
        mask_N = np.asarray(mask)
        if mask_N.shape != (rows,) or mask_N.dtype != np.bool_:
            raise ValueError(f"mask is {mask_N.dtype} of shape {mask_N.shape}, expected booleans of shape ({rows},)")
        if not mask_N.all():
            arrays = {name: values[mask_N] for name, values in arrays.items()}
    for name, values in arrays.items():
        allowed = rules[name].allowed(values)
        if not allowed.all():
            row, column = np.argwhere(~allowed)[0]
            found = f"{name} holds {values[row, column]:g} in column {column}, counted row {row}"
            raise ValueError(f"{found}; expected {rules[name].text}. Mask the rows without a label")
    return arrays
