"""Deliveries with all that can be wrong at once: the run ends, every bad thing is named, and nothing else is lost."""

import io
import json
import os
import shutil
import sys
from collections import Counter

import numpy as np
import polars as pl
import pytest
from PIL import Image

from abaw.data.shards import open_frames
from experiments.cli import main, run
from experiments.prepare import WITH_DROPS

pytestmark = pytest.mark.usefixtures("local_ray")
VIDEOS, FRAMES = ("a", "b", "é", "interview_left"), 300
EXPR_HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
MISFITS = {("a", 5): "12", ("a", 300): "happy", ("b", 9): "8", ("é", 300): "3.5"}
"""Labels of a video and frame that are none."""


def jpeg(seed, mode="RGB"):
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(content, "JPEG")
    return content.getvalue()


def saved(pixels, name):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, name)
    return content.getvalue()


def bomb():
    """A file of some hundred bytes whose header says 60,000 x 60,000 pixels."""
    content = bytearray(jpeg(0))
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = (60_000).to_bytes(2) * 2
    return bytes(content)


BAD = {
    ("a", 10): (b"", "empty file"),
    ("a", 20): (jpeg(0)[:300], "no complete JPEG: "),
    ("a", 30): (b"\0" * 1000, "no complete JPEG: "),
    ("a", 40): (saved(np.zeros((8, 8, 3), np.uint8), "PNG"), "holds a PNG image; expected JPEG, whatever the name"),
    ("b", 50): (saved(np.zeros((8, 8), np.uint16), "PNG"), "holds a PNG image"),
    ("b", 60): (saved(np.zeros((8, 8, 3), np.uint8), "GIF"), "holds a GIF image"),
    ("b", 70): (jpeg(0, "CMYK"), "CMYK colours; expected RGB or grey"),
    ("b", 80): (bomb(), "60000 x 60000 pixels; expected at most 50,000,000 pixels"),
}
"""Content of bad frames of a video, and how their reasons begin."""


def spoil(folder, looping, dangling, huge, strange):
    """Put into a folder what cannot be read, under these names; each path and the beginning of its reason."""
    (folder / "loop").symlink_to(folder)
    (folder / looping).symlink_to(looping)
    (folder / dangling).symlink_to("nowhere")
    (folder / huge).touch()
    os.truncate(folder / huge, 2**33)
    with open(os.path.join(os.fsencode(folder), strange), "wb") as file:
        file.write(b"x")
    # Not even root may list a folder whose path is too long.
    name, inside = "d" * 200, os.open(folder, os.O_RDONLY)
    for _ in range(22):
        os.mkdir(name, dir_fd=inside)
        outside, inside = inside, os.open(name, os.O_RDONLY, dir_fd=inside)
        os.close(outside)
    os.close(inside)
    deepest = next(path for path in map("/".join, _prefixes(folder, name)) if len(path) >= 4096)
    return {
        f"{folder}/loop": "is a symbolic link to a folder above it; remove the link",
        f"{folder}/{looping}": "Too many levels of symbolic links",
        f"{folder}/{dangling}": "No such file or directory",
        f"{folder}/{huge}": "has 8,589,934,592 bytes; expected at most 268,435,456",
        f"{folder}/{strange.decode(errors='backslashreplace')}": "its name is not UTF-8; rename it",
        deepest: "folder cannot be read: File name too long",
    }


def _prefixes(folder, name):
    return ([str(folder), *[name] * depth] for depth in range(1, 23))


def write_faces(root):
    """Crops with a label each, of which about one in a hundred is bad; the drops of the crops."""
    labels = root / "annotations" / "EXPR_Classification_Challenge" / "Train_Set"
    labels.mkdir(parents=True)
    for number, video in enumerate(VIDEOS):
        folder = root / "cropped_aligned" / video
        folder.mkdir(parents=True)
        for frame in range(1, FRAMES + 1):
            content = BAD[video, frame][0] if (video, frame) in BAD else jpeg(number * FRAMES + frame, mode_of(frame))
            (folder / f"{frame:05d}.jpg").write_bytes(content)
        lines = [MISFITS.get((video, frame), str(frame % 8)) for frame in range(1, FRAMES + 1)]
        (labels / f"{video}.txt").write_text("\n".join([EXPR_HEADER, *lines]) + "\n")
    with open(os.fsencode(labels) + b"/caf\xe9.txt", "wb") as file:
        file.write(EXPR_HEADER.encode() + b"\n1\n")
    crops = root / "cropped_aligned" / "b"
    (crops / "00904.png").write_bytes(BAD["a", 40][0])
    (crops / "notes.txt").write_text("dear diary")
    spoilt = spoil(crops, "00901.jpg", "00902.jpg", "00903.jpg", b"caf\xe9.jpg")
    frames = {f"{root}/cropped_aligned/{video}/{frame:05d}.jpg": why for (video, frame), (_, why) in BAD.items()}
    return frames | spoilt | {f"{crops}/00904.png": "is not named", f"{crops}/notes.txt": "is not named"}


def mode_of(frame):
    return "L" if frame % 100 == 99 else "RGB"


def drops_of(shards):
    """The drop table; no path is there twice."""
    drops = pl.read_parquet(shards / "drops.parquet")
    assert drops["path"].is_unique().all()
    return dict(drops.select("path", "reason").iter_rows())


def assert_named(drops, expected):
    assert sorted(drops) == sorted(expected)
    assert {path: reason for path, reason in drops.items() if expected[path] not in reason} == {}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def bad_faces(tmp_path_factory):
    """The delivery, and the drops of its crops."""
    root = tmp_path_factory.mktemp("bad") / "delivery"
    expected = write_faces(root)
    yield root, expected
    shutil.rmtree(root)


def test_a_delivery_loses_what_is_bad_and_nothing_else(bad_faces, tmp_path, capsys):
    (root, expected), out = bad_faces, tmp_path / "out"
    train = root / "annotations" / "EXPR_Classification_Challenge" / "Train_Set"
    misfits = {f"{train}/{video}.txt:{frame + 1}": "expected an integer from 0 to 7" for video, frame in MISFITS}
    misfits[f"{train}/caf\\xe9.txt"] = "its name is not UTF-8; rename it"
    command = ["prepare", "affwild2", str(root), str(out), "--slots", "3"]
    assert run(command) == WITH_DROPS
    assert "Traceback" not in capsys.readouterr().err
    assert_named(drops_of(out), expected | misfits)
    kept = [(video, frame) for video in VIDEOS for frame in range(1, FRAMES + 1) if (video, frame) not in BAD]
    labels = [(*place, None if place in MISFITS else place[1] % 8) for place in kept]
    stored = pl.DataFrame(open_frames(out, columns=["video", "frame", "expression", "image"]))
    assert stored.select("video", "frame", "expression").rows() == sorted(labels)
    for video, frame, image in stored.select("video", "frame", "image").iter_rows():
        assert image == (root / "cropped_aligned" / video / f"{frame:05d}.jpg").read_bytes()
    before = contents(out)
    assert run(command) == 1
    assert f"abaw: {out}: is not empty" in capsys.readouterr().err
    for again in ("--resume", "--overwrite"):
        assert run([*command, again]) == WITH_DROPS
        assert contents(out) == before


def test_names_are_printed_on_a_stream_that_cannot_show_them(bad_faces, tmp_path, monkeypatch):
    root, _ = bad_faces
    out = tmp_path / "out"
    crops = tmp_path / "in" / "é"
    crops.mkdir(parents=True)
    (crops / "1.jpg").write_bytes(jpeg(1))
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def printed(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        for stream in streams.values():
            stream.flush()
        return ended.value.code, *(stream.buffer.getvalue().decode("ascii") for stream in streams.values())

    assert printed("prepare", "images", str(tmp_path / "in"), str(out))[0] == 0
    code, text, _ = printed("data", "ls", str(out))
    assert code == 0
    assert "\\xe9" in text
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    for arguments in (["images", strange, str(out)], ["video", strange, str(out)], ["images", str(root), strange]):
        code, _, errors = printed("prepare", *arguments)
        assert code == 1
        assert f"abaw: {tmp_path}/caf\\xe9: its name is not UTF-8; rename it" in errors.splitlines()[-1]
        assert not os.path.exists(strange)


def test_images_lose_what_is_bad_and_nothing_else(bad_faces, tmp_path, capsys):
    (root, expected), out = bad_faces, tmp_path / "out"
    command = ["prepare", "images", str(root / "cropped_aligned"), str(out), "--json"]
    assert run(command) == WITH_DROPS
    assert json.loads(capsys.readouterr().out)["frames"] == len(VIDEOS) * FRAMES - len(BAD)
    assert_named(drops_of(out), expected)
    # With a look for duplicates all is read in other tasks; the drops are the same.
    out = tmp_path / "clean"
    command = ["prepare", "images", str(root / "cropped_aligned"), str(out), "--deduplicate", "--min-side", "8"]
    assert run(command) == WITH_DROPS
    assert_named(drops_of(out / "shards"), expected)


def test_videos_lose_what_is_bad_and_nothing_else(write_video, tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    frames_THWC = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    whole = write_video(root / "whole é.mp4", frames_THWC)
    cut = write_video(root / "cut.avi", frames_THWC)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    headless = root / "headless.mp4"
    headless.write_bytes(whole.read_bytes()[:4000])
    (root / "empty.mkv").touch()
    (root / "page.mp4").write_text("<html>404 not found</html>")
    (root / "picture.mov").write_bytes(jpeg(0))
    (root / "notes.txt").write_text("dear diary")
    expected = spoil(root, "looping.mp4", "dangling.mp4", "huge.mp4", b"caf\xe9.mp4")
    expected |= dict.fromkeys(map(str, (headless, root / "empty.mkv", root / "page.mp4")), "corrupt: cannot be opened")
    os.mkfifo(root / "pipe.mp4")
    reasons = {
        "cut.avi": "video cut: after frame ",
        "huge.mp4": "corrupt: ",
        "notes.txt": "not a video",
        "picture.mov": "corrupt: holds a picture; expected a video, whatever the name says",
        "pipe.mp4": "corrupt: is no regular file",
    }
    expected |= {f"{root}/{name}": reason for name, reason in reasons.items()}
    command = ["prepare", "video", str(root), str(out), "--slots", "2"]
    assert run(command) == WITH_DROPS
    assert "Traceback" not in capsys.readouterr().err
    before = contents(out)
    frames = Counter(open_frames(out / "shards", columns=["video"])["video"].to_pylist())
    expected[f"{cut}:{frames['cut'] + 1}"] = "corrupt: damaged frame"
    assert_named(drops_of(out / "shards"), expected)
    assert 5 < frames["cut"] < 15
    assert frames == {"whole é": 20, "cut": frames["cut"]}
    assert run(command) == 1
    assert f"abaw: {out}: is not empty" in capsys.readouterr().err
    for again in ("--resume", "--overwrite"):
        assert run([*command, again]) == WITH_DROPS
        assert contents(out) == before
    shutil.rmtree(root)
