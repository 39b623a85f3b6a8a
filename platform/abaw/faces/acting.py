"""Acting: a path through valence and arousal visits expression episodes, and these drive action units, gaze and head.

An episode has an expression, a peak and a drive that rises, holds and falls (onset, apex, offset). The drive pulls the
valence-arousal path towards the episode's anchor and the action units towards the expression's pattern, each unit with
its own delay, and with the gains and habits of the person. So expression and action units carry most of valence and
arousal; a mood that no muscle shows carries the rest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from abaw.faces.action_units import LABELLED, UNITS, vector
from abaw.tracks import EXPRESSIONS

Doubles = NDArray[np.float64]

NEUTRAL = 0
LABEL_INTENSITY = 0.35
"""A unit counts as active, and an episode as its expression, from this intensity on."""

# Variants of each expression: pattern of action units, and the anchor in valence and arousal at full intensity.
PATTERNS: dict[str, tuple[tuple[Doubles, tuple[float, float]], ...]] = {
    "Neutral": ((vector(), (0.05, -0.05)),),
    "Anger": (
        (vector(AU4=1, AU5=0.4, AU7=0.8, AU23=1), (-0.60, 0.65)),
        (vector(AU4=1, AU7=0.8, AU24=1, AU17=0.3), (-0.55, 0.45)),
        (vector(AU4=1, AU7=0.8, AU10=0.8, AU23=0.8, AU25=0.8), (-0.65, 0.80)),
    ),
    "Disgust": (
        (vector(AU9=1, AU10=0.9, AU4=0.7, AU7=0.7), (-0.65, 0.35)),
        (vector(AU9=0.8, AU10=1, AU15=0.7, AU17=0.8), (-0.70, 0.25)),
    ),
    "Fear": (
        (vector(AU1=1, AU2=0.7, AU4=0.7, AU5=1, AU20=1, AU25=0.8), (-0.50, 0.80)),
        (vector(AU1=1, AU2=0.7, AU4=0.7, AU5=1, AU20=0.9, AU25=0.8, AU26=0.7), (-0.55, 0.90)),
    ),
    "Happiness": (
        (vector(AU6=0.9, AU12=1, AU25=0.8), (0.75, 0.40)),
        (vector(AU6=0.7, AU12=0.8), (0.60, 0.15)),
        (vector(AU6=1, AU7=0.7, AU12=1, AU25=1, AU26=0.7), (0.85, 0.65)),
    ),
    "Sadness": (
        (vector(AU1=1, AU4=0.7, AU15=1, AU17=0.4), (-0.65, -0.30)),
        (vector(AU1=0.9, AU4=0.7, AU15=0.8, AU43=0.3), (-0.55, -0.40)),
        (vector(AU1=0.9, AU4=0.7, AU15=1, AU7=0.7, AU17=0.9), (-0.75, -0.15)),
    ),
    "Surprise": (
        (vector(AU1=1, AU2=1, AU5=0.8, AU25=0.8, AU26=0.9), (0.10, 0.80)),
        (vector(AU1=0.9, AU2=1, AU5=0.7, AU25=0.7), (0.20, 0.60)),
    ),
    "Other": (
        (vector(AU14=1), (-0.30, 0.10)),
        (vector(AU4=0.7, AU7=0.7, AU18=1), (-0.10, 0.20)),
        (vector(AU25=0.7, AU26=0.6, AU18=0.8), (0.10, 0.30)),
        (vector(AU2=0.9, AU17=0.9, AU24=0.8), (-0.20, 0.10)),
    ),
}
assert tuple(PATTERNS) == EXPRESSIONS, "every expression needs a pattern"

_SPEAKING = vector(AU25=0.75, AU26=0.45, AU18=0.3)
_LEADING = 0.75
_TURNS = np.array([0.14, 0.08, 0.03])  # usual turns of the head: yaw, pitch, roll in radians
_TILT = np.array([0.05, -0.03, 0.08])
_BLINK_SECONDS = 0.26
_ONE_SIDED = (UNITS.index("AU14"), UNITS.index("AU2"))


@dataclass(frozen=True, kw_only=True)
class Style:
    """How somebody acts."""

    gain_U: Doubles
    """How strongly each unit answers, about 1."""
    rest_U: Doubles
    """What each unit does at rest, below 0.2."""
    lean_U: Doubles
    """Asymmetry: the left half gets `1 + lean`, the right half `1 - lean`."""
    pace: float
    """Speed of onsets and offsets, about 1."""
    talk: float
    """Share of the episodes in which somebody speaks."""
    blinks: float
    """Blinks a second."""
    head_3: Doubles
    """Usual turn of the head: yaw, pitch, roll in radians."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What happens in T frames. The first four are labels without an annotator's errors."""

    va_T2: Doubles
    expression_T: NDArray[np.int64]
    au_TA: NDArray[np.int64]
    """The labelled units, 0 or 1."""
    intensity_TU: Doubles
    """All units, 0 to 1, mean of both halves."""
    left_TU: NDArray[np.float32]
    right_TU: NDArray[np.float32]
    gaze_T2: Doubles
    turn_T3: Doubles


def make_style(seed: np.random.SeedSequence) -> Style:
    """The habits of one person; the same seed gives the same habits."""
    rng = np.random.default_rng(seed)
    units = len(UNITS)
    return Style(
        gain_U=np.clip(np.exp(rng.normal(0, 0.15, units)), 0.8, 1.3),
        rest_U=rng.uniform(0, 0.2, units) * (rng.random(units) < 0.15),
        lean_U=rng.normal(0, 0.08, units),
        pace=float(np.exp(rng.normal(0, 0.2))),
        talk=float(rng.uniform(0.05, 0.3)),
        blinks=float(rng.uniform(0.15, 0.4)),
        head_3=rng.normal(0, [0.10, 0.06, 0.02]),
    )


def perform(
    seed: np.random.SeedSequence, style: Style, expressions: tuple[int, ...], frames: int, fps: float
) -> Performance:
    """Act the expressions one after another in `frames` frames."""
    rng = np.random.default_rng(seed)
    drive_JT = _drives(rng, style, len(expressions), frames, fps)
    va_T2 = (
        rng.normal(0, 0.06, 2) + 0.05 * _wander(rng, frames, 2.0 * fps, 2) + 0.03 * _wander(rng, frames, 0.2 * fps, 2)
    )
    intensity_TU = style.rest_U + 0.04 * np.abs(_wander(rng, frames, 0.5 * fps, len(UNITS)))
    lean_TU = np.tile(style.lean_U, (frames, 1))
    expression_T, strongest_T = np.zeros(frames, np.int64), np.full(frames, LABEL_INTENSITY)
    away_T = np.zeros(frames)
    for expression, drive_T in zip(expressions, drive_JT, strict=True):
        variants = PATTERNS[EXPRESSIONS[expression]]
        pattern_U, anchor = variants[rng.integers(len(variants))]
        peak = rng.uniform(0.7, 1.0)
        felt_T = peak * drive_T
        va_T2 += felt_T[:, None] * (np.array(anchor) + rng.normal(0, 0.05, 2))
        intensity_TU += _muscles(rng, style, pattern_U, peak, drive_T, fps)
        if expression == EXPRESSIONS.index("Other"):
            side = rng.choice([-0.8, 0.8])
            lean_TU[:, _ONE_SIDED] += side * (drive_T[:, None] > 0.1)
            away_T += rng.choice([-1.0, 1.0]) * drive_T  # who thinks or doubts looks away, the head a little tilted
        shown_T = (felt_T > strongest_T) & (expression != NEUTRAL)
        expression_T[shown_T] = expression
        strongest_T = np.maximum(strongest_T, felt_T)
    intensity_TU = np.clip(intensity_TU, 0, 1)
    au_TA = (intensity_TU[:, :LABELLED] > LABEL_INTENSITY).astype(np.int64)
    intensity_TU[:, UNITS.index("AU43")] = np.maximum(
        intensity_TU[:, UNITS.index("AU43")], _blinks(rng, style, frames, fps)
    )
    gaze_T2 = np.clip(_glances(rng, frames, fps) + np.stack([away_T, 0.5 * np.abs(away_T)], axis=1), -1, 1)
    roam_T3 = _wander(rng, frames, 1.2 * fps, 3)
    return Performance(
        va_T2=np.clip(va_T2, -1, 1),
        expression_T=expression_T,
        au_TA=au_TA,
        intensity_TU=intensity_TU,
        left_TU=np.clip(intensity_TU * (1 + lean_TU), 0, 1).astype(np.float32),
        right_TU=np.clip(intensity_TU * (1 - lean_TU), 0, 1).astype(np.float32),
        gaze_T2=gaze_T2,
        turn_T3=style.head_3 + rng.uniform(0.4, 1.2) * _TURNS * roam_T3 + away_T[:, None] * _TILT,
    )


def _drives(rng: np.random.Generator, style: Style, episodes: int, frames: int, fps: float) -> Doubles:
    """Onset, apex and offset (J, T) of episodes that follow each other, 0 to 1."""
    length_J = rng.uniform(0.7, 1.3, episodes)
    edge_J = np.concatenate([[0], np.cumsum(length_J) / length_J.sum()]) * frames / fps
    second_T = np.arange(frames) / fps
    drive_JT = np.zeros((episodes, frames))
    for j in range(episodes):
        span = edge_J[j + 1] - edge_J[j]
        onset = min(rng.uniform(0.15, 0.4) / style.pace, 0.3 * span)
        offset = min(rng.uniform(0.2, 0.5) / style.pace, 0.3 * span)
        start, stop = edge_J[j] + rng.uniform(-0.4, 0.6) * onset, edge_J[j + 1] - rng.uniform(-0.4, 0.6) * offset
        rise_T, fall_T = np.clip((second_T - start) / onset, 0, 1), np.clip((stop - second_T) / offset, 0, 1)
        hold_T = 1 - rng.uniform(0, 0.3) * np.clip((second_T - start) / max(span, 1e-6), 0, 1)  # an apex fades a little
        ramp_T = np.minimum(rise_T, fall_T)
        drive_JT[j] = ramp_T**2 * (3 - 2 * ramp_T) * hold_T
    return drive_JT


def _muscles(
    rng: np.random.Generator, style: Style, pattern_U: Doubles, peak: float, drive_T: Doubles, fps: float
) -> Doubles:
    """Intensities (T, U) that one episode adds: its pattern, less or more a unit, and speech."""
    # The leading units of a pattern always show; of the others one in ten stays away.
    kept_U = (pattern_U >= _LEADING) | (rng.random(len(UNITS)) > 0.1)
    pattern_U = pattern_U * kept_U * rng.uniform(0.85, 1.1, len(UNITS))
    if rng.random() < 0.2:
        pattern_U[rng.integers(LABELLED)] += rng.uniform(0.6, 1.0)
    frames = len(drive_T)
    second_T = np.arange(frames)
    delay_U = np.round(rng.normal(0, 0.07, len(UNITS)) * fps)
    place_TU = np.clip(second_T[:, None] - delay_U, 0, frames - 1).astype(np.int64)
    added_TU = peak * style.gain_U * pattern_U * drive_T[place_TU]
    if rng.random() < style.talk:
        syllable_T = np.clip(0.5 + 0.6 * _wander(rng, frames, 0.08 * fps, 1)[:, 0], 0, 1)
        added_TU += (drive_T * syllable_T)[:, None] * _SPEAKING
    return added_TU


def _wander(rng: np.random.Generator, frames: int, width: float, columns: int) -> Doubles:
    """Smooth noise (T, columns) with about unit deviation; `width` in frames."""
    reach = int(4 * width) + 1
    noise = gaussian_filter1d(rng.standard_normal((frames + 2 * reach, columns)), max(width, 0.3), axis=0)
    return np.asarray(noise[reach : reach + frames] * np.sqrt(2 * np.sqrt(np.pi) * max(width, 0.3)))


def _blinks(rng: np.random.Generator, style: Style, frames: int, fps: float) -> Doubles:
    second_T = np.arange(frames) / fps
    closed_T = np.zeros(frames)
    for at in rng.uniform(0, frames / fps, rng.poisson(style.blinks * frames / fps)):
        closed_T = np.maximum(closed_T, np.clip(1.4 * (1 - np.abs(second_T - at) / (_BLINK_SECONDS / 2)), 0, 1))
    return closed_T


def _glances(rng: np.random.Generator, frames: int, fps: float) -> Doubles:
    """Gaze (T, 2) that jumps from one fixation to the next."""
    fixation_T = np.cumsum(rng.random(frames) < 0.7 / fps)
    target_F2 = rng.normal(0, [0.22, 0.12], (fixation_T[-1] + 1, 2))
    return np.asarray(target_F2[fixation_T])
