"""Annotators: they see the acted truth late and with errors, and leave stretches out.

What they leave out is NaN here; `abaw.annotations` writes it as the track's sentinel (-5 or -1).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from abaw.faces.acting import Performance
from abaw.tracks import AU, EXPR, VA

Doubles = NDArray[np.float64]

MISTAKEN_EPISODE = 0.04
"""Share of the episodes that an annotator takes for another expression."""
MISTAKEN_UNIT = 0.01
"""Share of the single action-unit labels that are wrong."""


def annotate(seed: np.random.SeedSequence, performance: Performance, fps: float) -> dict[str, Doubles]:
    """Complete labels (T, D) of each task, by task name."""
    rng = np.random.default_rng(seed)
    frames = len(performance.expression_T)
    return {
        VA.name: _trace(rng, performance.va_T2, fps),
        EXPR.name: _expressions(rng, _late(rng, performance.expression_T, fps))[:, None].astype(np.float64),
        AU.name: (_late(rng, performance.au_TA, fps) ^ (rng.random((frames, 12)) < MISTAKEN_UNIT)).astype(np.float64),
    }


def leave_gaps(rng: np.random.Generator, labels_ND: Doubles, share: float) -> Doubles:
    """A copy in which about `share` of the rows, in one or two stretches, is NaN."""
    gappy_ND, frames = labels_ND.copy(), len(labels_ND)
    for _ in range(stretches := int(rng.integers(1, 3))):
        length = max(1, round(frames * share / stretches))
        start = int(rng.integers(0, max(1, frames - length)))
        gappy_ND[start : start + length] = np.nan
    return gappy_ND


def _late(rng: np.random.Generator, labels_T: NDArray[np.int64], fps: float) -> NDArray[np.int64]:
    """Labels that follow the truth by up to a tenth of a second."""
    lag = round(rng.uniform(0, 0.1) * fps)
    return np.asarray(labels_T[np.maximum(np.arange(len(labels_T)) - lag, 0)])


def _trace(rng: np.random.Generator, va_T2: Doubles, fps: float) -> Doubles:
    """A joystick trace: late, smooth, and unsteady."""
    lag = round(rng.uniform(0.05, 0.2) * fps)
    late_T2 = va_T2[np.maximum(np.arange(len(va_T2)) - lag, 0)]
    tremor_T2 = gaussian_filter1d(rng.standard_normal(late_T2.shape), 0.1 * fps + 0.5, axis=0)
    traced_T2 = gaussian_filter1d(late_T2, 0.06 * fps, axis=0) + 0.04 * tremor_T2 / tremor_T2.std()
    return np.asarray(np.clip(traced_T2 + rng.normal(0, 0.02, 2), -1, 1))


def _expressions(rng: np.random.Generator, expression_T: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels in which a few whole episodes carry another expression."""
    episode_T = np.cumsum(np.diff(expression_T, prepend=expression_T[:1]) != 0)
    labels_T = expression_T.copy()
    for episode in range(episode_T[-1] + 1):
        if rng.random() < MISTAKEN_EPISODE:
            labels_T[episode_T == episode] = rng.integers(len(EXPR.columns))
    return labels_T
