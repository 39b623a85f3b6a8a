import sys

import numpy as np
import pytest
from PIL import Image

from abaw.data import video_frames
from abaw.data.video_frames import NoVideo, VideoCut, read_frames
from abaw.problems import BadInput

COUNT = 50


def numbered(count=COUNT, height=64, width=96):
    """Frames whose grey tells their number, from 1, on noise that keeps the packets large."""
    noise_THWC = np.random.default_rng(0).integers(0, 60, (count, height, width, 3), dtype=np.uint8)
    grey_THW3 = 4 * np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None]
    noise_THWC[:, :, : width // 2] = grey_THW3
    return noise_THWC


def grey_number(pixels_HWC):
    return round(float(pixels_HWC[8:-8, 8 : pixels_HWC.shape[1] // 2 - 8].mean()) / 4)


def read_until_cut(path):
    """The frames that come before the error, and the error."""
    read = []
    try:
        for frame in read_frames(path):
            read += [frame]
    except VideoCut as cut:
        return read, cut
    raise AssertionError("the video is whole")


def test_frame_k_is_the_kth_in_presentation_order_in_every_container(write_video, tmp_path):
    for ending in ("mp4", "avi", "mkv", "mov", "webm"):
        path = write_video(tmp_path / f"v.{ending}", numbered())
        read = list(read_frames(path))
        assert [number for number, _, _ in read] == list(range(1, COUNT + 1)), ending
        assert [grey_number(pixels_HWC) for _, pixels_HWC, _ in read] == list(range(1, COUNT + 1)), ending
        assert not any(damaged for _, _, damaged in read), ending
        assert read[0][1].shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("ending", "options"),
    [("mp4", {"movflags": "faststart"}), ("avi", {}), ("mkv", {}), ("webm", {}), ("mov", {"movflags": "faststart"})],
)
def test_a_cut_video_keeps_what_decodes_and_says_where_it_ends(write_video, tmp_path, ending, options):
    path = write_video(tmp_path / f"v.{ending}", numbered(), **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    read, cut = read_until_cut(path)
    good = [(number, grey_number(pixels_HWC)) for number, pixels_HWC, damaged in read if not damaged]
    assert 10 < len(good) < 40
    assert [number for number, _ in good] == [number for _, number in good] == list(range(1, len(good) + 1))
    assert str(cut).startswith(f"after frame {len(read)}")


def test_frames_after_damage_are_not_numbered(write_video, tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 30_000] = b"\xff" * 30_000
    path.write_bytes(content)
    read, cut = read_until_cut(path)
    assert str(cut) == f"after frame {len(read)} of 50: Invalid data found when processing input"
    assert [grey_number(pixels_HWC) for _, pixels_HWC, damaged in read if not damaged] == [
        number for number, _, damaged in read if not damaged
    ]


def test_a_turned_video_is_turned_upright(write_video, tmp_path):
    lying_THWC = np.zeros((5, 64, 96, 3), np.uint8)
    lying_THWC[:, :, :48] = 250  # the left half is white
    _, pixels_HWC, _ = next(read_frames(write_video(tmp_path / "v.mp4", lying_THWC, rotation=90)))
    assert pixels_HWC.shape == (96, 64, 3)
    assert pixels_HWC[60:].mean() > 200, "turned counterclockwise, left becomes below"
    assert pixels_HWC[:36].mean() < 20


@pytest.mark.parametrize("content", [b"", b"dear diary\n" * 200])
def test_a_file_that_is_no_video_cannot_be_opened(tmp_path, content):
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(NoVideo, match="cannot be opened: "):
        next(read_frames(tmp_path / "v.mp4"))
    with pytest.raises(NoVideo, match="cannot be opened: No such file"):
        next(read_frames(tmp_path / "none.mp4"))


def test_a_picture_and_what_would_not_fit_in_memory_are_no_videos(write_video, tmp_path, monkeypatch):
    Image.new("RGB", (64, 64)).save(tmp_path / "v.mov", "JPEG")
    with pytest.raises(NoVideo, match="holds a picture; expected a video, whatever the name says"):
        next(read_frames(tmp_path / "v.mov"))
    monkeypatch.setattr(video_frames, "MAX_PIXELS", 6000)
    with pytest.raises(NoVideo, match="96 x 64 pixels; expected at most 6,000 pixels"):
        next(read_frames(write_video(tmp_path / "v.mp4", numbered(2))))


def test_sound_alone_is_no_video(tmp_path):
    import av

    with av.open(tmp_path / "v.mkv", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(NoVideo, match="holds no video stream"):
        next(read_frames(tmp_path / "v.mkv"))


def test_without_pyav_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BadInput, match=r"pip install 'abaw-platform\[video\]'"):
        next(read_frames(tmp_path / "v.mp4"))
