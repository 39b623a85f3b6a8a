"""What a track may learn from shards."""

import pytest

from abaw.data.manifest import AS_DELIVERED, Manifest, check_track, few_sizes
from abaw.problems import BadInput
from abaw.tracks import TRACKS


def manifest_of(track: str) -> Manifest:
    counts = {"frames": 0, "videos": 0, "without_image": 0, "dropped": 0, "slots": 1, "splits": {}, "image_sizes": {}}
    return Manifest(source="X /data", track=track, preprocessing=AS_DELIVERED, files=(), **counts)  # type: ignore[arg-type]


@pytest.mark.parametrize("track", ["mtl", "expr", "va", "au"])
def test_multi_task_shards_serve_every_part(track: str) -> None:
    check_track(manifest_of("mtl"), track)


def test_rare_sizes_are_counted_together() -> None:
    sizes = {f"{side}x{side}": side for side in range(1, 9)}
    assert list(few_sizes(sizes).items()) == [*((f"{k}x{k}", k) for k in (8, 7, 6, 5, 4)), ("other sizes", 6)]
    assert few_sizes({"1x1": 2}) == {"1x1": 2}


@pytest.mark.parametrize("track", TRACKS)
def test_shards_serve_their_own_track_and_valence_and_arousal(track: str) -> None:
    check_track(manifest_of(track), track)
    check_track(manifest_of(track), "va")


def test_classes_of_another_track_are_refused_with_both_lists() -> None:
    for own in ("affectnet7", "affectnet8", "lsd", "cexpr", "emo135", "expr2020"):
        with pytest.raises(
            BadInput, match=f"^X /data: the shards number the expressions of {own} .*; expected those of"
        ):
            check_track(manifest_of(own), "mtl")
    with pytest.raises(BadInput) as caught:
        check_track(manifest_of("emo135"), "lsd")
    assert str(caught.value) == (
        "X /data: the shards number the expressions of emo135 (emotion_000, emotion_001, emotion_002, emotion_003, "
        "emotion_004, emotion_005, emotion_006, emotion_007 and 127 more); expected those of lsd (Anger, Disgust, "
        "Fear, Happiness, Sadness, Surprise); give shards that have them"
    )
