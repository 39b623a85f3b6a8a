"""What a benchmark holds its figures against: each script prints its targets, `bench.py` gathers them."""

from collections.abc import Sequence
from typing import TypedDict


class Target(TypedDict):
    """A figure and its goal."""

    what: str
    figure: str
    """With the least and the most of its rounds, where there are several."""
    goal: str
    met: bool | None
    """None where the figure has no goal."""


def target(
    what: str,
    value: float,
    *,
    unit: str = "times",
    rounds: Sequence[float] = (),
    least: float | None = None,
    most: float | None = None,
) -> Target:
    """`least` and `most` are what the value must reach, or must not pass."""
    spread = f" ({min(rounds):g} to {max(rounds):g})" if len(rounds) > 1 else ""
    goals = [f"at least {least:g}"] if least is not None else []
    goals += [f"at most {most:g}"] if most is not None else []
    met = (least is None or value >= least) and (most is None or value <= most)
    return Target(
        what=what, figure=f"{value:g}{spread} {unit}", goal=" and ".join(goals) or "-", met=met if goals else None
    )
