"""The Ladder rule (Blum and Hardt, 2015): a board that answers less often tells less about its held-out labels.

A new score is shown only if it beats the best shown score of its author by more than a step.
"""

from collections.abc import Sequence


def is_withheld(score: float, shown: Sequence[float], *, step: float | None, higher_is_better: bool) -> bool:
    """The Ladder rule for a new score, given those of the same author that are shown."""
    if step is None or not shown:
        return False
    gain = score - max(shown) if higher_is_better else min(shown) - score
    return gain <= step
