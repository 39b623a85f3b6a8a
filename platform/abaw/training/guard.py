"""Steps that must not be taken: a gradient that is no number, or a thousand times its usual size.

The norm of the gradient is the same on all workers, since their gradients are averaged before it: all decide alike.
"""

import math
from typing import Any

EXPLODED = 1000.0
"""How many times its usual norm a gradient may be."""
SETTLED = 20
"""Good steps before a usual norm is known."""
MOST_IN_A_ROW = 10
"""Skipped steps in a row after which training has diverged."""
SLOWER = 0.1
"""What the learning rate is multiplied by after going back."""


class DivergedError(Exception):
    """Training has diverged: so many steps in a row could not be taken."""


class Guard:
    """Decides for every step whether it is taken, counts those that are not, and remembers a lowered rate."""

    def __init__(self) -> None:
        self.rate = 1.0
        self.skipped = 0
        self._in_a_row, self._good, self._usual = 0, 0, 0.0

    def allows(self, norm: float) -> bool:
        """Whether a step with this norm of the gradient is taken.

        Raises DivergedError after `MOST_IN_A_ROW` steps in a row that were not.
        """
        exploded = self._good >= SETTLED and norm > EXPLODED * self._usual
        if math.isfinite(norm) and not exploded:
            self._in_a_row = 0
            self._good += 1
            self._usual += (norm - self._usual) / min(self._good, 100)
            return True
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row == MOST_IN_A_ROW:
            raise DivergedError(
                f"{MOST_IN_A_ROW} steps in a row had a gradient of norm {norm:.3g}, usually {self._usual:.3g}"
            )
        return False

    def slow_down(self) -> None:
        """Go on with a lower rate after going back; what was skipped since stays counted."""
        self.rate *= SLOWER
        self._in_a_row = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "rate": self.rate,
            "skipped": self.skipped,
            "row": self._in_a_row,
            "good": self._good,
            "usual": self._usual,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take what a checkpoint kept."""
        self.rate, self.skipped = state["rate"], state["skipped"]
        self._in_a_row, self._good, self._usual = state["row"], state["good"], state["usual"]
