"""Malformed submissions: each with the exact list of reasons that the reader must find."""

import os
from pathlib import Path

import pytest

from abaw.tracks import TRACKS
from leaderboard.submissions import read_submission

VA_HEADER = "image_location,valence,arousal\n"
EXPR_HEADER = "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "submission.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def reasons_of(path: Path, track: str) -> list[str]:
    _, reasons = read_submission(path, TRACKS[track])
    return [line.removeprefix(str(path)) for line in reasons.lines]


GOOD = "v/00001.jpg,0.5,-0.5\n"
IN_VA = "a number in [-1, 1]"
IMAGE = "<video>/<frame>.jpg, such as video1/00001.jpg"
OTHER = "the header is that of track va, not of expr"
BAD_NAMES = ("00001.jpg", "v/1.jpg", "v/00000.jpg", "v/00001.png", "a/b/00001.jpg", "")
MALFORMED = {
    "nothing wrong": ("va", VA_HEADER + GOOD, []),
    "empty": ("va", " \n", [": the file is empty; expected a header and one line a frame"]),
    "no header": ("va", GOOD, [f":1: the header is missing: the first line is a row; expected {VA_HEADER.strip()!r}"]),
    "wrong header": (
        "va",
        "image,valence,arousal\n" + GOOD,
        [f":1: header 'image,valence,arousal'; expected {VA_HEADER.strip()!r}"],
    ),
    "header of another track, and nothing else reported": (
        "expr",
        VA_HEADER + GOOD * 3,
        [f":1: {OTHER}; expected {EXPR_HEADER.strip()!r}; check the file and --track"],
    ),
    "too few values": (
        "va",
        VA_HEADER + "v/00001.jpg,0.5\n",
        [":2: found 1 values after the image, expected 2 (valence,arousal)"],
    ),
    "too many values": (
        "va",
        VA_HEADER + GOOD + "v/00002.jpg,0.5,0.5,0\n",
        [":3: found 3 values after the image, expected 2 (valence,arousal); decimals are written with a point"],
    ),
    "commas at the end": (
        "va",
        VA_HEADER.strip() + ",\nv/00001.jpg,0.5,-0.5,\r\nv/00002.jpg,0.5,-0.5\nv/00003.jpg,0.5,\nv/00004.jpg,0,0,",
        [f":4: arousal is ''; expected {IN_VA}"],
    ),
    "a malformed first row and no header": (
        "va",
        "v/1.jpg,0,0\n" + GOOD,
        [
            f":1: header 'v/1.jpg,0,0'; expected {VA_HEADER.strip()!r}",
            f":1: 'v/1.jpg'; expected {IMAGE}",
        ],
    ),
    "bare comma": (
        "expr",
        EXPR_HEADER + "v/00001.jpg,\n",
        [":2: expression is ''; expected an integer from 0 to 7"],
    ),
    "blank line": ("va", VA_HEADER + GOOD + "\n" + "v/00002.jpg,0,0\n", [":3: blank line; remove it"]),
    "not a number": ("va", VA_HEADER + "v/00001.jpg,zero,0\n", [f":2: valence is 'zero'; expected {IN_VA}"]),
    "quoted": ("va", VA_HEADER + 'v/00001.jpg,"0.5",0\n', [f":2: valence is '\"0.5\"'; expected {IN_VA}"]),
    "hex, underscore, German comma": (
        "va",
        VA_HEADER + "v/00001.jpg,0x1,1_0\nv/00002.jpg,0,5,0\n",
        [
            f":2: valence is '0x1'; expected {IN_VA}",
            f":2: arousal is '1_0'; expected {IN_VA}",
            ":3: found 3 values after the image, expected 2 (valence,arousal); decimals are written with a point",
        ],
    ),
    "not finite": (
        "va",
        VA_HEADER + "v/00001.jpg,nan,-Inf\n",
        [f":2: valence is 'nan'; expected {IN_VA}", f":2: arousal is '-Inf'; expected {IN_VA}"],
    ),
    "out of range": (
        "va",
        VA_HEADER + "v/00001.jpg,1.0001,-1\nv/00002.jpg,-5,1e400\n",
        [
            f":2: valence is 1.0001; expected {IN_VA}",
            f":3: valence is -5; expected {IN_VA}; it means 'not annotated' and is no prediction",
            f":3: arousal is inf; expected {IN_VA}",
        ],
    ),
    "class out of range": (
        "expr",
        EXPR_HEADER + "v/00001.jpg,8\nv/00002.jpg,-1\nv/00003.jpg,99999\n",
        [
            ":2: expression is 8; expected an integer from 0 to 7",
            ":3: expression is -1; expected an integer from 0 to 7; it means 'not annotated' and is no prediction",
            ":4: expression is 99999; expected an integer from 0 to 7",
        ],
    ),
    "class not an integer": (
        "expr",
        EXPR_HEADER + "v/00001.jpg,3.0\nv/00002.jpg,2.5\n",
        [
            ":2: expression is '3.0'; expected an integer from 0 to 7",
            ":3: expression is '2.5'; expected an integer from 0 to 7",
        ],
    ),
    "bad image names": (
        "va",
        VA_HEADER + "".join(f"{name},0,0\n" for name in BAD_NAMES),
        [f":{k}: {name!r}; expected {IMAGE}" for k, name in enumerate(BAD_NAMES, 2)],
    ),
    "comma in a name": (
        "va",
        VA_HEADER + "\n".join([",v/00001.jpg,0.5,0", "a,b/00001.jpg,0,0", "v/00003.jpg,0,0"]),
        [
            ":2: found 3 values after the image, expected 2 (valence,arousal); decimals are written with a point",
            f":2: ''; expected {IMAGE}",
            ":3: found 3 values after the image, expected 2 (valence,arousal); decimals are written with a point",
            f":3: 'a'; expected {IMAGE}",
        ],
    ),
    "repeated": (
        "va",
        VA_HEADER + GOOD + "v/00002.jpg,0,0\n" + GOOD + GOOD,
        [":4: v/00001.jpg came before, in line 2; remove one", ":5: v/00001.jpg came before, in line 2; remove one"],
    ),
    "latin-1": (
        "va",
        VA_HEADER.encode() + b"v\xe9/00001.jpg,0,0\n" + GOOD.encode(),
        [":2: byte 0xe9 at position 2 is not UTF-8; save the file as UTF-8"],
    ),
    "utf-16": (
        "va",
        (VA_HEADER + GOOD).encode("utf-16"),
        [": not a UTF-8 text file (it holds zero bytes or is UTF-16); save it as UTF-8"],
    ),
    "all at once": (
        "va",
        "image,valence,arousal\nv/00001.jpg,x,7\nw.jpg,0,0\nv/00002.jpg,0\n",
        [
            f":1: header 'image,valence,arousal'; expected {VA_HEADER.strip()!r}",
            f":2: valence is 'x'; expected {IN_VA}",
            f":2: arousal is 7; expected {IN_VA}",
            ":3: 'w.jpg'; expected <video>/<frame>.jpg, such as video1/00001.jpg",
            ":4: found 1 values after the image, expected 2 (valence,arousal)",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_every_reason_is_found(tmp_path: Path, case: str) -> None:
    track, content, expected = MALFORMED[case]
    assert reasons_of(write(tmp_path, content), track) == expected


def test_no_such_file_and_folder(tmp_path: Path) -> None:
    assert reasons_of(tmp_path / "nowhere.txt", "va") == [": No such file or directory; expected a submission file"]
    folder = ": is a folder; expected a submission file, or for expr, au and va a folder of <video>.txt"
    assert reasons_of(tmp_path, "va") == [folder]
    (tmp_path / "v.txt").write_text("valence,arousal\n0,0\n")
    assert reasons_of(tmp_path, "mtl") == [folder]


FOLDER = {
    "nothing wrong": ({"v.txt": "valence,arousal\n0,0.5\n-1,1\n"}, []),
    "commas, CRLF and a byte order mark": ({"v.txt": "\ufeffvalence,arousal,\r\n0,0.5,\r\n0,0,\r\n"}, []),
    "all that is wrong, by file and line": (
        {
            "v.txt": "image,valence\n0,0.5\n2,x\n",
            "w.txt": "valence,arousal\n0\n-5,0\n",
            "x.txt": "",
        },
        [
            "/v.txt:1: header 'image,valence'; expected 'valence,arousal'",
            "/w.txt:2: found 1 values after the image, expected 2 (valence,arousal)",
            f"/v.txt:3: arousal is 'x'; expected {IN_VA}",
            f"/v.txt:3: valence is 2; expected {IN_VA}",
            f"/w.txt:3: valence is -5; expected {IN_VA}; it means 'not annotated' and is no prediction",
            "/x.txt: the file is empty; expected a header and one line a frame",
        ],
    ),
}


@pytest.mark.parametrize("name", [b"a,b.txt", b"a\nb.txt", b"\xe9.txt"])
def test_a_file_whose_name_no_submission_can_hold(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "v.txt").write_text("valence,arousal\n0,0\n")
    (tmp_path / os.fsdecode(name)).write_text("valence,arousal\n0,0\n")
    message = "is no video's name; expected printable text without commas, rename the file"
    assert reasons_of(tmp_path, "va") == [f": {os.fsdecode(name)!r} {message}"]


@pytest.mark.parametrize("case", FOLDER)
def test_a_folder_of_one_file_a_video(tmp_path: Path, case: str) -> None:
    files, expected = FOLDER[case]
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    assert sorted(reasons_of(tmp_path, "va")) == sorted(expected)
    rows, _ = read_submission(tmp_path, TRACKS["va"])
    assert rows is not None
    assert rows["image"].to_list()[:2] == ["v/00001.jpg", "v/00002.jpg"]
