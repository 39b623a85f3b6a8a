"""What a search may choose from: numbers in a range, on a linear or logarithmic scale, or one of several values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every recipe has a space, few are searched
    import optuna


@dataclass(frozen=True, kw_only=True)
class Float:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Equal ratios are equally far apart; for rates."""

    def suggest(self, trial: "optuna.Trial", name: str) -> float:
        """Optuna's choice for this trial."""
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    def suggest(self, trial: "optuna.Trial", name: str) -> int:
        """Optuna's choice for this trial."""
        return int(trial.suggest_int(name, self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """One of several values, without order."""

    values: tuple[str | float | bool | None, ...]

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """Optuna's choice for this trial."""
        return trial.suggest_categorical(name, self.values)


Space = Mapping[str, Float | Int | Choice]
Point = Mapping[str, Any]
"""A value for every name of a space."""


def suggest(space: Space, trial: "optuna.Trial") -> dict[str, Any]:
    """A point of the space, as Optuna proposes it."""
    return {name: one.suggest(trial, name) for name, one in space.items()}


def shown(value: Any) -> str:
    """A value of a point for a person."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def opposite_points(space: Space) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two points that differ in every name: what is the same at both does not depend on the point."""
    both = {
        name: (one.values[0], one.values[-1]) if isinstance(one, Choice) else (one.low, one.high)
        for name, one in space.items()
    }
    return {name: pair[0] for name, pair in both.items()}, {name: pair[1] for name, pair in both.items()}
