"""What will be filmed: videos with their names, people, expressions, tasks, gaps and missing crops.

The plan holds the oddities of Aff-Wild2 on purpose: names that are substrings of others, two people in one video,
frames without a crop, label files longer or shorter than the crops, videos that only some challenges use.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from abaw.tracks import AU, EXPR, EXPRESSIONS, VA

Split = Literal["train", "validation", "test", "unlabelled"]

TASKS = (VA.name, EXPR.name, AU.name)
FRAME_RATES = (10, 12, 15, 20, 25, 30)
EPISODE_SECONDS = 1.5
EPISODE_SHARES = (0.14, 0.065, 0.05, 0.05, 0.20, 0.17, 0.085, 0.24)
"""How often an episode has each expression. Neutral also fills the time between episodes; the rarest are less rare than
in Aff-Wild2, so that a small data set holds each of them several times."""
SUBSTRINGS: dict[Split, tuple[str, ...]] = {
    "train": ("102", "video45"),
    "validation": ("102-30-640x360",),
    "test": ("video45_1",),
}
"""Names that are there whatever the seed: who looks for '102' by `in` takes a validation video for training."""
SAME_PERSON = 0.2
"""Share of the videos whose person was in the video before."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One track of frames: a person in front of a camera."""

    name: str
    folder: str
    """Where its crops go, below the data set's folder."""
    split: Split
    person: str
    """Name of the person; equal names are one person."""
    camera: str
    """Name of the camera and room; `_left` and `_right` of a video share them."""
    expressions: tuple[int, ...]
    frames: int
    """Frames of the video; crops are numbered 1 to this."""
    fps: int
    missing: tuple[int, ...] = ()
    """Frames in which no face was found: they have no crop."""
    tasks: tuple[str, ...] = ()
    """Challenges that the video belongs to."""
    gaps: tuple[str, ...] = ()
    """Tasks in which a stretch is not annotated."""
    extra_labels: int = 0
    """Label lines beyond the last frame; negative when the file is short."""

    def __post_init__(self) -> None:
        assert self.frames > 0, "a clip has frames"


def seed_of(seed: int, *words: object) -> np.random.SeedSequence:
    """The seed of one thing, from the data set's seed and the thing's name: no order of work can change it."""
    digest = hashlib.sha256("/".join(map(str, (seed, *words))).encode()).digest()
    return np.random.SeedSequence([int.from_bytes(digest[k : k + 4], "little") for k in range(0, 32, 4)])


def plan_videos(*, videos: int, test_videos: int, frames: int, seed: int) -> list[Clip]:
    """The labelled videos: a fifth of `videos` is the validation set, `test_videos` come on top."""
    validation = max(2, round(videos / 5))
    counts: dict[Split, int] = {"train": videos - validation, "validation": validation, "test": test_videos}
    rng = np.random.default_rng(seed_of(seed, "names"))
    numbers = [int(n) for n in rng.permutation(np.arange(200, 200 + 9 * (videos + test_videos)))]
    clips: list[Clip] = []
    for split, count in counts.items():
        names = _names(rng, split, count, numbers)
        clips += _deal_expressions(_clips(split, names, frames, seed), seed)
    return clips


def _names(rng: np.random.Generator, split: Split, count: int, numbers: list[int]) -> list[str]:
    """Names as Aff-Wild2 has them, with its traps: a name inside another one, and pairs of two people."""
    names = list(SUBSTRINGS[split])
    if split != "validation" and count >= 4:
        stem = f"{numbers.pop()}-60-1280x720"
        names += [f"{stem}_left", f"{stem}_right"]
    while len(names) < count:
        forms = ("{}", "{}-30-1280x720", "{}-24-1920x1080", "{}-25-854x480", "video{}")
        names.append(forms[rng.integers(len(forms))].format(numbers.pop()))
    return names[:count]


def _clips(split: Split, names: list[str], frames: int, seed: int) -> list[Clip]:
    clips: list[Clip] = []
    for k, name in enumerate(names):
        stem = name.removesuffix("_left").removesuffix("_right")
        paired = stem != name
        # Both sides of a pair draw the same length, rate and camera.
        rng = np.random.default_rng(seed_of(seed, "plan", stem))
        length = max(8, round(frames * rng.uniform(0.65, 1.35)))
        fps = int(rng.choice([rate for rate in FRAME_RATES if rate <= max(length // 4, FRAME_RATES[0])]))
        again = clips and not paired and clips[-1].person == clips[-1].name and rng.random() < SAME_PERSON
        own = np.random.default_rng(seed_of(seed, "traps", name))
        clips.append(
            Clip(
                name=name,
                folder=f"cropped_aligned/{name}",
                split=split,
                person=clips[-1].person if again else name,
                camera=stem,
                expressions=(),
                frames=length,
                fps=fps,
                missing=_missing(own, length, always=k == 0, most=0.26 if split == "test" and k == 0 else 0.12),
                tasks=_tasks(own, split, k),
                gaps=() if split == "test" else tuple(t for t in TASKS if k == 0 or own.random() < 0.25),
                extra_labels=0 if split == "test" else _extra_labels(own, k),
            )
        )
    return clips


def _missing(rng: np.random.Generator, frames: int, *, always: bool, most: float) -> tuple[int, ...]:
    """Stretches in which the face detector failed; frame 1 has a crop always."""
    lost: set[int] = set()
    if always or rng.random() < 0.45:
        for _ in range(stretches := int(rng.integers(1, 3))):
            length = max(1, round(frames * (most if always else rng.uniform(0.03, most)) / stretches))
            start = int(rng.integers(2, max(3, frames - length)))
            lost |= set(range(start, min(start + length, frames + 1)))
    return tuple(sorted(lost))


def _tasks(rng: np.random.Generator, split: Split, k: int) -> tuple[str, ...]:
    """Most videos are in all three challenges; of the test videos, each from the fourth to the sixth is not in one."""
    if split == "test":
        return tuple(task for number, task in enumerate(TASKS) if k != 3 + number)
    if k < 3 or rng.random() < 0.75:
        return TASKS
    kept = rng.choice(len(TASKS), size=int(rng.integers(1, 3)), replace=False)
    return tuple(task for number, task in enumerate(TASKS) if number in kept)


def _extra_labels(rng: np.random.Generator, k: int) -> int:
    """The second video of a split has three labels too many and the third one too few; others now and then."""
    if k in (1, 2):
        return 3 if k == 1 else -1
    return int(rng.integers(1, 4)) if rng.random() < 0.15 else 0


def _deal_expressions(clips: list[Clip], seed: int) -> list[Clip]:
    """Give every clip of a split its episodes, so that the split as a whole has the wanted shares.

    Each expression is dealt a few times before chance has its say, first to clips of the expression challenge.
    """
    assert clips, "a split has clips"
    rng = np.random.default_rng(seed_of(seed, "deck", clips[0].split))
    slots = [k for k, clip in enumerate(clips) for _ in range(max(2, round(clip.frames / clip.fps / EPISODE_SECONDS)))]
    order = sorted(rng.permutation(len(slots)).tolist(), key=lambda slot: EXPR.name not in clips[slots[slot]].tasks)
    sure = min(3, len(slots) // 10)
    counts = np.maximum(np.round(np.array(EPISODE_SHARES) * len(slots)).astype(int), sure)
    rare = [e for e in range(len(EXPRESSIONS)) for _ in range(sure)]
    rest = [e for e in range(len(EXPRESSIONS)) for _ in range(counts[e] - sure)]
    deck = [*rng.permutation(rare), *rng.permutation(rest)]
    deck += [EXPRESSIONS.index("Other")] * max(0, len(slots) - len(deck))
    hands: list[list[int]] = [[] for _ in clips]
    for slot, expression in zip(order, deck, strict=False):
        hands[slots[slot]].append(int(expression))
    return [_with_expressions(clip, rng.permutation(hand).tolist()) for clip, hand in zip(clips, hands, strict=True)]


def _with_expressions(clip: Clip, hand: list[int]) -> Clip:
    return Clip(**{**vars(clip), "expressions": tuple(int(e) for e in hand) or (0,)})


def plan_pool(*, people: int, frames: int, seed: int) -> list[Clip]:
    """Unlabelled videos of people who are in no other set."""
    clips = []
    for k in range(people):
        name = f"person{k:04d}"
        rng = np.random.default_rng(seed_of(seed, "pool", name))
        episodes = max(2, round(frames / 10 / EPISODE_SECONDS))
        clips.append(
            Clip(
                name=name,
                folder=f"pool/{name}",
                split="unlabelled",
                person=f"pool/{name}",
                camera=f"pool/{name}",
                expressions=tuple(int(e) for e in rng.choice(len(EXPRESSIONS), episodes, p=EPISODE_SHARES)),
                frames=frames,
                fps=10,
            )
        )
    return clips
