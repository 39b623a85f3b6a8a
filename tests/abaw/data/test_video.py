import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import simplejpeg

from abaw.data.choices import Stretch
from abaw.data.clean import Reason
from abaw.data.cropping import Alignment
from abaw.data.detectors.detector import DetectorConfig, find_weights, open_detector
from abaw.data.video import VideoConfig, find_videos, prepare_video, prepare_videos
from abaw.problems import BadInput

WHOLE = VideoConfig(quality=90)


def flat(count, height=48, width=64):
    return np.broadcast_to(np.arange(0, 5 * count, 5, dtype=np.uint8)[:, None, None, None], (count, height, width, 3))


@pytest.fixture(scope="module")
def two_people(astronaut_HWC, write_video, tmp_path_factory):
    """Two faces side by side, the right one larger, for six frames; nobody in the third, one face in the fourth."""
    small_HWC = np.zeros((300, 300, 3), np.uint8)
    small_HWC[25:265, 25:265] = np.asarray(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(_smaller(astronaut_HWC))))
    frame_HWC = np.concatenate([small_HWC, astronaut_HWC[:, ::-1]], axis=1)
    frames_THWC = np.stack([frame_HWC] * 6)
    frames_THWC[2] = 0
    frames_THWC[3, :, 300:] = 0
    return write_video(tmp_path_factory.mktemp("two") / "two.mp4", frames_THWC)


def _smaller(pixels_HWC):
    from PIL import Image

    return np.ascontiguousarray(Image.fromarray(pixels_HWC).resize((240, 240)))


@pytest.fixture(scope="module")
def aligned(face_task):
    weights = find_weights(DetectorConfig(backend="mediapipe", weights=face_task))
    return VideoConfig(alignment=Alignment(weights=weights, size=96))


def read_note(out):
    return SimpleNamespace(**json.loads((out / "videos" / "two.json").read_text()))


def crop_of(out, frame):
    return simplejpeg.decode_jpeg((out / "crops" / "two" / f"{frame:05d}.jpg").read_bytes())


def test_faces_are_cut_out_by_rule_and_their_eyes_are_in_place(two_people, aligned, tmp_path):
    stretches = [
        Stretch(first=1, last=None, choose="largest"),
        Stretch(first=4, last=4, choose="left"),
        Stretch(first=5, last=5, choose="nearest"),
        Stretch(first=6, last=None, choose="none"),
    ]
    prepare_video(two_people, tmp_path, aligned, stretches)
    note = read_note(tmp_path)
    assert note.frames == [1, 2, 4, 5]
    assert note.drops == [[f"{two_people}:3", "no face"], [f"{two_people}:6", "no face chosen"]]
    assert sorted(path.name for path in (tmp_path / "crops" / "two").iterdir()) == [
        f"{frame:05d}.jpg" for frame in note.frames
    ]
    crops = [crop_of(tmp_path, frame) for frame in note.frames]
    assert [crop_SSC.shape for crop_SSC in crops] == [(96, 96, 3)] * 4
    with open_detector(aligned.alignment.weights) as detector:
        found = [detector.detect(crop_SSC) for crop_SSC in crops]
    for (face,) in found:
        assert face.points_52[0] == pytest.approx((0.34 * 96, 0.46 * 96), abs=3)
        assert face.points_52[1] == pytest.approx((0.66 * 96, 0.46 * 96), abs=3)
    # The right one is mirrored: frame 5 follows the left one, which frame 4 chose, though the right one is larger.
    chosen_right, followed = crop_of(tmp_path, 1).astype(int), crop_of(tmp_path, 5).astype(int)
    left = crop_of(tmp_path, 4).astype(int)
    assert abs(followed - left).mean() < 8 < abs(chosen_right - left).mean()
    assert abs(chosen_right[:, ::-1] - left).mean() < 12


def test_the_contact_sheet_shows_the_chosen_face_in_green(two_people, aligned, tmp_path):
    prepare_video(two_people, tmp_path, aligned, ())
    sheet_HWC = simplejpeg.decode_jpeg((tmp_path / "sheets" / "two.jpg").read_bytes()).astype(int)
    height, width = sheet_HWC.shape[0] // 2, sheet_HWC.shape[1] // 5
    assert (height, width) == (138, 286)
    green_HW = (sheet_HWC[:, :, 1] > 180) & (sheet_HWC[:, :, 0] < 90) & (sheet_HWC[:, :, 2] < 90)
    cells = [green_HW[row * height :, column * width :][:height, :width] for row, column in ((0, 0), (0, 2), (0, 3))]
    columns = [np.nonzero(cell)[1] for cell in cells]
    assert columns[0].min() > 82, "the right one is chosen"
    assert columns[1].size == 0, "nobody there"
    assert columns[2].size
    assert columns[2].max() < 82, "the left one is alone"
    assert sheet_HWC[:120, 170:280].std() > 20, "the crop stands beside"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_side": 400}, Reason.TOO_SMALL.because("the crop covers 131 pixels on a side; expected 400")),
        ({}, Reason.FEW_POINTS.because("mouth")),
    ],
)
def test_a_face_that_cannot_be_used_is_dropped_with_its_reason(
    astronaut_HWC, write_video, aligned, tmp_path, changes, reason
):
    frame_HWC = astronaut_HWC if changes else np.ascontiguousarray(astronaut_HWC[:136])
    path = write_video(tmp_path / "two.mp4", [frame_HWC])
    alignment = Alignment(**{**vars(aligned.alignment), **changes})
    prepare_video(path, tmp_path / "out", VideoConfig(alignment=alignment), ())
    note = read_note(tmp_path / "out")
    assert note.frames == []
    assert [drop for _, drop in note.drops] == [reason]


def test_whole_videos_become_a_frame_table_and_what_is_cut_or_no_video_is_named(local_ray, write_video, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    whole = write_video(source / "deep" / "whole.webm", flat(7))
    noise_THWC = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    cut = write_video(source / "cut.mkv", noise_THWC)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (source / "text.mp4").write_text("dear diary")
    (source / "notes.txt").write_text("dear diary")
    (source / "nomp4").write_text("dear diary")
    videos, drops = find_videos([source])
    found = prepare_videos(videos, out, WHOLE, choices={}, drops=drops)
    assert list(videos) == ["cut", "text", "whole"]
    rows = found.frames.filter(pl.col("video") == "whole")
    assert rows["frame"].to_list() == list(range(1, 8))
    assert set(found.frames["split"]) == {"unlabelled"}
    levels = [simplejpeg.decode_jpeg(open(path, "rb").read()).mean() for path in rows["path"]]  # noqa: SIM115
    assert levels == pytest.approx(range(0, 35, 5), abs=2)
    last = found.frames.filter(pl.col("video") == "cut")["frame"].max()
    assert 1 < last < 40
    reasons = dict(found.drops.rows())
    assert set(reasons) == {str(cut), *(str(source / name) for name in ("text.mp4", "notes.txt", "nomp4"))}
    assert reasons[str(cut)].startswith(f"video cut: after frame {last}: ")
    assert reasons[str(source / "text.mp4")].startswith("corrupt: cannot be opened: ")
    assert reasons[str(source / "notes.txt")] == "not a video: expected .mp4, .avi, .mkv, .mov, .webm"
    # A second run does what has changed and nothing else.
    marks = {video: (out / "videos" / f"{video}.json").stat().st_mtime_ns for video in videos}
    write_video(whole, flat(5))
    again = prepare_videos(videos, out, WHOLE, choices={}, drops=drops)
    assert again.frames.filter(pl.col("video") == "whole")["frame"].to_list() == list(range(1, 6))
    changed = {video for video in videos if (out / "videos" / f"{video}.json").stat().st_mtime_ns != marks[video]}
    assert changed == {"whole"}
    assert len(list((out / "crops" / "whole").iterdir())) == 5
    shutil.rmtree(out / "crops" / "whole")
    prepare_videos(videos, out, WHOLE, choices={}, drops=drops)
    assert len(list((out / "crops" / "whole").iterdir())) == 5, "frames that were removed are made again"


def test_another_rule_does_again_the_videos_that_no_row_covers(local_ray, write_video, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("free", "partly", "ruled"):
        write_video(tmp_path / "in" / f"{name}.mp4", flat(4))
    videos, drops = find_videos([tmp_path / "in"])
    choices = {
        "partly": [Stretch(first=2, last=3, choose="left")],
        "ruled": [Stretch(first=1, last=None, choose="left"), Stretch(first=2, last=3, choose="right")],
    }

    def made(choose):
        config = dataclasses.replace(WHOLE, choose=choose)
        prepare_videos(videos, tmp_path / "out", config, choices=choices, drops=drops)
        return {video: (tmp_path / "out" / "videos" / f"{video}.json").stat().st_mtime_ns for video in videos}

    before, after = made("largest"), made("right")
    assert {video for video in videos if before[video] != after[video]} == {"free", "partly"}


def test_when_no_video_gives_a_frame_the_first_reason_is_told(local_ray, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.mp4").write_text("dear diary")
    videos, drops = find_videos([tmp_path / "in"])
    with pytest.raises(BadInput, match=r"text.mp4: corrupt: .*; none of the 1 videos gives a frame"):
        prepare_videos(videos, tmp_path / "out", WHOLE, choices={}, drops=drops)


def test_roots_that_are_no_videos_are_told_together(tmp_path):
    (tmp_path / "a.txt").write_text("dear diary")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.mp4").write_text("")
    with pytest.raises(BadInput) as refused:
        find_videos([tmp_path / "a.txt", tmp_path / "none", tmp_path / "one", tmp_path / "two" / "same.mp4"])
    messages = [str(problem).removeprefix(f"{tmp_path}/") for problem in refused.value.problems]
    assert messages == [
        "a.txt: not a video; expected .mp4, .avi, .mkv, .mov, .webm",
        "none: no such file or folder; expected .mp4, .avi, .mkv, .mov, .webm",
        f"two/same.mp4: video same is {tmp_path / 'one' / 'same.mp4'} too; "
        "rename one, or prepare them into two folders",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty: holds no video; expected"):
        find_videos([tmp_path / "empty"])
