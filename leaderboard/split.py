"""Public and private videos: what keeps a board honest while it is used.

Who picks the best of many submissions by their scores on a held-out set fits that set. So the board shows the scores on
the public videos only, until the reveal ranks by the private ones.
"""

import hashlib
from collections.abc import Sequence

from abaw.folds import fold_group
from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.per_video import Counted, pooled
from leaderboard.schema import Rules


def is_private(video: str, *, share: float, seed: int) -> bool:
    """Whether a video is private: a hash of seed and name, so it depends on nothing else.

    `x_left` and `x_right` are two people of one video and stay together.
    """
    digest = hashlib.sha256(f"{seed}/{fold_group(video)}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def split(track: Track, counted: Sequence[Counted], *, share: float, seed: int) -> tuple[list[Counted], list[Counted]]:
    """The public and the private videos. BadInput where one of the two cannot be scored."""
    public = [one for one in counted if not is_private(one.video, share=share, seed=seed)]
    private = [one for one in counted if is_private(one.video, share=share, seed=seed)]
    for name, videos in (("public", public), ("private", private)):
        whole = pooled(track, videos)
        lacking = [task.name for task in track.tasks if not whole.parts[task.name].n]
        if lacking:
            message = f"seed {seed} and share {share:g} leave the {name} videos without a label of {', '.join(lacking)}"
            raise refuse(f"rules of track {track.name}", f"{message}; set the rules with another --seed or --private")
    return public, private


def visible(counted: Sequence[Counted], rules: Rules) -> list[Counted]:
    """The videos that the rules let people see the score of: the public ones, after the reveal the private ones."""
    return [one for one in counted if is_visible(one.video, rules)]


def is_visible(video: str, rules: Rules) -> bool:
    """Whether the score that the board shows now counts this video."""
    if not rules.private_share:
        return True
    return is_private(video, share=rules.private_share, seed=rules.seed) is (rules.revealed_at is not None)
