"""A corpus of malformed submissions of every track and form: a small generator each, and all the reasons it must get.

Each spoils a correct file of two videos, line 1 the header, lines 2 to 4 video a, lines 5 and 6 video b; the template
has the same lines. What the reader says of single lines is in test_malformed.py.
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from abaw.tracks import TRACKS
from leaderboard.templates import check, read_template

Lines = list[str]
Change = Callable[[Lines], "str | bytes | dict[str, str]"]
NAMES = ["a/00001.jpg", "a/00002.jpg", "a/00003.jpg", "b/00001.jpg", "b/00002.jpg"]
STILLS = [f"{number}.jpg" for number in range(5)]
VALUES = {"lsd": "3", "affectnet7": "3", "affectnet8": "3", "emo135": "3", "expr": "3", "expr2020": "3", "cexpr": "3"}
VALUES |= {"va": "0.5,-0.5", "au": "0,1" + ",0" * 10, "au2020": "0,1" + ",0" * 6, "mtl": "0.5,-0.5,3" + ",0" * 12}


def good(track: str) -> Lines:
    header = TRACKS[track].submission_header
    names = STILLS if header == ("image", "expression") else NAMES
    return [",".join(header), *(f"{name},{VALUES[track]}" for name in names)]


def text(lines: Lines) -> str:
    return "\n".join(lines) + "\n"


def line(number: int, new: str) -> Change:
    return lambda lines: text([*lines[: number - 1], new, *lines[number:]])


def values(number: int, new: str) -> Change:
    return lambda lines: line(number, f"{lines[number - 1].split(',')[0]},{new}")(lines)


def order(*numbers: int) -> Change:
    return lambda lines: text([lines[number - 1] for number in numbers])


def all_of(old: str, new: str) -> Change:
    return lambda lines: text(lines).replace(old, new)


def instead(content: str | bytes) -> Change:
    return lambda lines: content


def videos(lines: Lines) -> dict[str, str]:
    """ABAW3's form of the same."""
    found: dict[str, str] = {}
    for one in lines[1:]:
        video, own = one.split("/")[0], one.split(",", 1)[1]
        found[f"{video}.txt"] = found.get(f"{video}.txt", "valence,arousal\n") + own + "\n"
    return found


def folder(**files: str | None) -> Change:
    return lambda lines: {
        name: content
        for name, content in (videos(lines) | {f"{k}.txt": v for k, v in files.items()}).items()
        if content is not None
    }


def zipped(*files: tuple[str, str], cut: int = 0) -> Change:
    def change(lines: Lines) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files or videos(lines).items():
                archive.writestr(name, content)
        return buffer.getvalue()[: len(buffer.getvalue()) - cut]

    return change


LOST_A = ": video a is missing whole: 3 rows, asked for from t.txt:2 on"
LOST_B = ": video b is missing whole: 2 rows, asked for from t.txt:5 on"
MTL = "'image,valence,arousal,expression,aus'"
AU = "'image_location,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26'"
VA = "'image_location,valence,arousal'"
EXPR = "'image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other'"
IN = "expected a number in [-1, 1]"
NAME = "expected <video>/<frame>.jpg, such as video1/00001.jpg"
NO_TEXT = "not a UTF-8 text file (it holds zero bytes or is UTF-16); save it as UTF-8"
NO_LABEL = "; it means 'not annotated' and is no prediction"
UNITS = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
FOLDER = "is a folder; expected a submission file, or for expr, au and va a folder of <video>.txt"
ZIP = "expected the submission file as text, or a zip of it or of one <video>.txt a video"
CORPUS: dict[str, tuple[str, Change, list[str]]] = {
    # The header.
    "nothing": ("va", instead(""), [": the file is empty; expected a header and one line a frame"]),
    "line ends alone": ("va", instead("\r\n\r\n"), [": the file is empty; expected a header and one line a frame"]),
    "header alone": ("va", order(1), [LOST_A, LOST_B]),
    "no header": ("mtl", order(2, 3, 4, 5, 6), [f":1: the header is missing: the first line is a row; expected {MTL}"]),
    "header of another track": ("au", line(1, "image_location,valence,arousal"), [
        f":1: the header is that of track va, not of au; expected {AU}; check the file and --track",
    ]),
    "header of the folder form": ("va", line(1, "valence,arousal"), [f":1: header 'valence,arousal'; expected {VA}"]),
    "header in another order": ("va", line(1, "image_location,arousal,valence"), [
        f":1: header 'image_location,arousal,valence'; expected {VA}",
    ]),
    "header in capitals": ("va", line(1, "IMAGE_LOCATION,VALENCE,AROUSAL"), [
        f":1: header 'IMAGE_LOCATION,VALENCE,AROUSAL'; expected {VA}",
    ]),
    "header in quotes": ("va", line(1, '"image_location","valence","arousal"'), [
        f":1: header '\"image_location\",\"valence\",\"arousal\"'; expected {VA}",
    ]),
    "header with every unit": ("mtl", line(1, "image,valence,arousal,expression,AU1,AU2"), [
        f":1: header 'image,valence,arousal,expression,AU1,AU2'; expected {MTL}",
    ]),
    "header with another class name": ("expr", all_of("Happiness", "Happy"), [
        f":1: header 'image_location,Neutral,Anger,Disgust,Fear,Happy,Sadness,Surprise,Other'; expected {EXPR}",
    ]),
    "header twice": ("va", order(1, 2, 3, 4, 1, 5, 6), [
        f":5: valence is 'valence'; {IN}", f":5: arousal is 'arousal'; {IN}", f":5: 'image_location'; {NAME}",
    ]),
    "semicolons": ("va", all_of(",", ";"), [f":1: the fields are separated by semicolons; expected commas: {VA}"]),
    "tabs": ("va", all_of(",", "\t"), [f":1: the fields are separated by tabs; expected commas: {VA}"]),
    "spaces": ("expr", all_of(",", " "), [f":1: the fields are separated by spaces; expected commas: {EXPR}"]),
    # What is no text of this form.
    "line ends of old Macs": ("va", all_of("\n", "\r"), [
        ": its lines end with CR alone; save it with line ends LF or CRLF",
    ]),
    "UTF-16": ("va", lambda lines: text(lines).encode("utf-16"), [f": {NO_TEXT}"]),
    "UTF-32": ("va", lambda lines: text(lines).encode("utf-32-be"), [f": {NO_TEXT}"]),
    "Latin-1": ("va", lambda lines: text([*lines, "\xe9/00001.jpg,0,0"]).encode("latin-1"), [
        ":7: byte 0xe9 at position 1 is not UTF-8; save the file as UTF-8",
    ]),
    "two byte order marks": ("va", lambda lines: "\ufeff\ufeff" + text(lines), [
        f":1: header '\\ufeffimage_location,valence,arousal'; expected {VA}",
    ]),
    "byte order mark inside": ("va", line(5, "\ufeffb/00001.jpg,0.5,-0.5"), [
        ": b/00001.jpg is missing; t.txt:5 asks for it",
        ":5: '\\ufeffb/00001.jpg' is not in the template t.txt; remove it",
    ]),
    "zero byte": ("va", values(3, "0.5\0,-0.5"), [f": {NO_TEXT}"]),
    "PNG": ("va", instead(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), [f": {NO_TEXT}"]),
    "gzip": ("va", instead(b"\x1f\x8b\x08\0\0\0\0\0"), [f": {NO_TEXT}"]),
    "pickle": ("va", instead(pickle.dumps({"a/00001.jpg": [0.5, -0.5]})), [f": {NO_TEXT}"]),
    "prediction table": ("va", instead(b"PAR1\x15\x04"), [
        ": a prediction table; `leaderboard export` writes its submission file",
    ]),
    "page of a web site": ("expr", instead("<!DOCTYPE html>\n<html>Sign in</html>\n"), [
        LOST_A, LOST_B, f":1: header '<!DOCTYPE html>'; expected {EXPR}",
        ":2: found no value, expected 1 (expression)", f":2: '<html>Sign in</html>'; {NAME}",
    ]),
    "cut in the middle": ("va", lambda lines: text(lines)[:-12], [
        ": b/00002.jpg is missing; t.txt:6 asks for it", ":6: found no value, expected 2 (valence,arousal)",
        f":6: 'b/00002.j'; {NAME}",
    ]),
    # Rows.
    "missing row": ("expr", order(1, 2, 3, 5, 6), [": a/00003.jpg is missing; t.txt:4 asks for it"]),
    "missing video": ("au", order(1, 2, 3, 4), [LOST_B]),
    "repeated row": ("mtl", order(1, 2, 3, 3, 4, 5, 6), [":4: a/00002.jpg came before, in line 3; remove one"]),
    "repeated with another value": ("va", lambda lines: text([*lines, "a/00001.jpg,0,0"]), [
        ":7: a/00001.jpg came before, in line 2; remove one",
    ]),
    "file twice": ("lsd", lambda lines: text(lines + lines[:3]), [
        ":7: expression is 'expression'; expected an integer from 0 to 5",
        ":7: 'image'; expected <number>.jpg, such as 0.jpg", ":8: 0.jpg came before, in line 2; remove one",
        ":9: 1.jpg came before, in line 3; remove one",
    ]),
    "extra row": ("au", lambda lines: text([*lines, lines[-1].replace("2.jpg", "3.jpg")]), [
        ":7: b/00003.jpg is not in the template t.txt; remove it",
    ]),
    "extra video": ("va", lambda lines: text([*lines, "c/00001.jpg,0,0"]), [
        ":7: c/00001.jpg is not in the template t.txt; remove it",
    ]),
    "rows swapped": ("expr", order(1, 2, 4, 3, 5, 6), [
        ":4: a/00002.jpg comes after a/00003.jpg; the template has it before (lines 3 and 4 of t.txt)",
    ]),
    "videos swapped": ("va", order(1, 5, 6, 2, 3, 4), [
        ":4: a/00001.jpg comes after b/00002.jpg; the template has it before (lines 2 and 6 of t.txt)",
    ]),
    "blank line": ("cexpr", lambda lines: text([*lines[:3], "", *lines[3:]]), [":4: blank line; remove it"]),
    "video in capitals": ("va", all_of("b/", "B/"), [
        LOST_B, ":5: B/00001.jpg is not in the template t.txt; remove it",
        ":6: B/00002.jpg is not in the template t.txt; remove it",
    ]),
    "frame 0": ("va", all_of("a/00001", "a/00000"), [
        ": a/00001.jpg is missing; t.txt:2 asks for it", f":2: 'a/00000.jpg'; {NAME}",
    ]),
    "frame without zeros": ("va", all_of("a/00001", "a/1"), [
        ": a/00001.jpg is missing; t.txt:2 asks for it", f":2: 'a/1.jpg'; {NAME}",
    ]),
    "PNG names": ("va", line(2, "a/00001.png,0,0"), [
        ": a/00001.jpg is missing; t.txt:2 asks for it", f":2: 'a/00001.png'; {NAME}",
    ]),
    "backslashes": ("va", all_of("b/", "b\\"), [
        LOST_B, f":5: 'b\\\\00001.jpg'; {NAME}", f":6: 'b\\\\00002.jpg'; {NAME}",
    ]),
    "folder above": ("va", all_of("b/", "test/b/"), [
        LOST_B, f":5: 'test/b/00001.jpg'; {NAME}", f":6: 'test/b/00002.jpg'; {NAME}",
    ]),
    "space before a name": ("va", line(3, " a/00002.jpg,0,0"), [
        ": a/00002.jpg is missing; t.txt:3 asks for it", ":3: ' a/00002.jpg' is not in the template t.txt; remove it",
    ]),
    "still in a video track": ("expr", line(2, "0.jpg,3"), [
        ": a/00001.jpg is missing; t.txt:2 asks for it", f":2: '0.jpg'; {NAME}",
    ]),
    "still with zeros": ("lsd", all_of("0.jpg", "00.jpg"), [
        ": 0.jpg is missing; t.txt:2 asks for it", ":2: 00.jpg is not in the template t.txt; remove it",
    ]),
    "still without a number": ("lsd", line(3, "one.jpg,3"), [
        ": 1.jpg is missing; t.txt:3 asks for it", ":3: 'one.jpg'; expected <number>.jpg, such as 0.jpg",
    ]),
    # Values.
    "NaN": ("va", values(2, "NaN,-nan"), [f":2: valence is 'NaN'; {IN}", f":2: arousal is '-nan'; {IN}"]),
    "not annotated": ("va", values(3, "-5,-5"), [
        f":3: valence is -5; {IN}{NO_LABEL}", f":3: arousal is -5; {IN}{NO_LABEL}",
    ]),
    "out of range": ("va", values(4, "1.00001,-1.5"), [f":4: valence is 1.00001; {IN}", f":4: arousal is -1.5; {IN}"]),
    "huge exponent": ("va", values(4, "1e400,-1e400"), [f":4: valence is inf; {IN}", f":4: arousal is -inf; {IN}"]),
    "German decimals": ("va", values(2, "0,5,-0,5"), [
        ":2: found 4 values after the image, expected 2 (valence,arousal); decimals are written with a point",
    ]),
    "no value": ("va", values(2, ","), [f":2: valence is ''; {IN}", f":2: arousal is ''; {IN}"]),
    "percent": ("va", values(2, "50%,-50%"), [f":2: valence is '50%'; {IN}", f":2: arousal is '-50%'; {IN}"]),
    "sign of a typesetter": ("va", values(2, "0.5,\u22120.5"), [f":2: arousal is '\u22120.5'; {IN}"]),
    "digits of another script": ("va", values(2, "\u0660,\uff11"), [
        f":2: valence is '\u0660'; {IN}", f":2: arousal is '\uff11'; {IN}",
    ]),
    "digits without end": ("va", values(2, "9" * 5000 + ",0"), [f":2: valence is inf; {IN}"]),
    "letters without end": ("va", values(2, "x" * 100_000 + ",0"), [
        f":2: valence is 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'; {IN}",
    ]),
    "None": ("expr", values(2, "None"), [":2: expression is 'None'; expected an integer from 0 to 7"]),
    "class by name": ("expr", values(2, "Happiness"), [
        ":2: expression is 'Happiness'; expected an integer from 0 to 7",
    ]),
    "class as a decimal": ("expr", values(2, "3.0"), [":2: expression is '3.0'; expected an integer from 0 to 7"]),
    "one-hot class": ("expr", values(2, "0,0,0,1,0,0,0,0"), [
        ":2: found 8 values after the image, expected 1 (expression)",
    ]),
    "class without annotation": ("expr", values(2, "-1"), [
        f":2: expression is -1; expected an integer from 0 to 7{NO_LABEL}",
    ]),
    "class of 2020": ("expr2020", values(2, "7"), [":2: expression is 7; expected an integer from 0 to 6"]),
    "class 7 of seven compounds": ("cexpr", values(2, "7"), [":2: expression is 7; expected an integer from 0 to 6"]),
    "class 6 of six": ("lsd", values(2, "6"), [":2: expression is 6; expected an integer from 0 to 5"]),
    "contempt in seven classes": ("affectnet7", values(2, "7"), [
        ":2: expression is 7; expected an integer from 0 to 6",
    ]),
    "class 8 of AffectNet": ("affectnet8", values(2, "8"), [":2: expression is 8; expected an integer from 0 to 7"]),
    "class 135": ("emo135", values(2, "135"), [":2: expression is 135; expected an integer from 0 to 134"]),
    "class beyond 16 bits": ("emo135", values(2, "65536"), [
        ":2: expression is 65536; expected an integer from 0 to 134",
    ]),
    "probability of a unit": ("au", values(2, "0,0.7" + ",0" * 10), [":2: AU2 is '0.7'; expected 0 or 1"]),
    "unit 2": ("au", values(2, "2" + ",0" * 10 + ",-1"), [
        ":2: AU1 is 2; expected 0 or 1", f":2: AU26 is -1; expected 0 or 1{NO_LABEL}",
    ]),
    "eleven units": ("au", values(2, "0" + ",0" * 10), [f":2: found 11 values after the image, expected 12 ({UNITS})"]),
    "units of the newer list": ("au2020", values(2, "0" + ",0" * 11), [
        ":2: found 12 values after the image, expected 8 (AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25)",
    ]),
    "truth values": ("au", values(2, "True,False" + ",0" * 10), [
        ":2: AU1 is 'True'; expected 0 or 1", ":2: AU2 is 'False'; expected 0 or 1",
    ]),
    "class before valence": ("mtl", values(2, "3,0.5,-0.5" + ",0" * 12), [
        ":2: expression is '-0.5'; expected an integer from 0 to 7", f":2: valence is 3; {IN}",
    ]),
    "eleven units of three tasks": ("mtl", values(2, "0.5,-0.5,3" + ",0" * 11), [
        f":2: found 14 values after the image, expected 15 (valence,arousal,expression,{UNITS})",
    ]),
    "no annotation of three tasks": ("mtl", values(2, "-5,0,-1" + ",0" * 11 + ",-1"), [
        f":2: valence is -5; {IN}{NO_LABEL}", f":2: expression is -1; expected an integer from 0 to 7{NO_LABEL}",
        f":2: AU26 is -1; expected 0 or 1{NO_LABEL}",
    ]),
    # ABAW3's folder, and zips.
    "folder without a video": ("va", folder(b=None), [LOST_B]),
    "folder with another video": ("va", folder(c="valence,arousal\n0,0\n"), [
        "/c.txt:2: c/00001.jpg is not in the template t.txt; remove it",
    ]),
    "folder with a frame too few": ("va", folder(a="valence,arousal\n0,0\n0,0\n"), [
        "/a.txt: a/00003.jpg is missing; t.txt:4 asks for it",
    ]),
    "folder with a frame too many": ("va", folder(b="valence,arousal\n" + "0,0\n" * 3), [
        "/b.txt:4: b/00003.jpg is not in the template t.txt; remove it",
    ]),
    "folder without a header": ("va", folder(b="0,0\n0,0\n"), [
        "/b.txt: b/00002.jpg is missing; t.txt:6 asks for it", "/b.txt:1: header '0,0'; expected 'valence,arousal'",
    ]),
    "folder with images": ("va", folder(b="valence,arousal\nb/00001.jpg,0,0\nb/00002.jpg,0,0\n"), [
        "/b.txt:2: found 3 values after the image, expected 2 (valence,arousal); decimals are written with a point",
        "/b.txt:3: found 3 values after the image, expected 2 (valence,arousal); decimals are written with a point",
    ]),
    "folder with an empty file": ("va", folder(b=""), [
        "/b.txt: the file is empty; expected a header and one line a frame", LOST_B,
    ]),
    "folder with a blank line": ("va", folder(b="valence,arousal\n0,0\n\n0,0\n"), [
        "/b.txt:3: found no value, expected 2 (valence,arousal)",
        "/b.txt:4: b/00003.jpg is not in the template t.txt; remove it",
    ]),
    "folder of other names": ("va", lambda lines: {"a.csv": "valence,arousal\n0,0\n"}, [f": {FOLDER}"]),
    "folder of three tasks": ("mtl", lambda lines: videos(lines), [f": {FOLDER}"]),
    "zip of videos with a bad value": ("va", zipped(("a.txt", "valence,arousal\n2,x\n")), [
        LOST_B, "/a.txt: a/00002.jpg is missing; t.txt:3 asks for it",
        "/a.txt: a/00003.jpg is missing; t.txt:4 asks for it", f"/a.txt:2: arousal is 'x'; {IN}",
        f"/a.txt:2: valence is 2; {IN}",
    ]),
    "zip of a file with a bad value": ("va", zipped(("s.txt", "image_location,valence,arousal\na/00001.jpg,2,0")), [
        LOST_B, ": a/00002.jpg is missing; t.txt:3 asks for it", ": a/00003.jpg is missing; t.txt:4 asks for it",
        f"/s.txt:2: valence is 2; {IN}",
    ]),
    "zip of three tasks": ("mtl", zipped(), [
        ": is a zip of one file a video; expected a submission file, or for expr, au and va a folder of <video>.txt",
    ]),
    "zip of nothing": ("va", instead(b"PK\x05\x06" + bytes(18)), [f": the zip holds no file; {ZIP}"]),
    "zip cut off": ("va", zipped(cut=30), [f": the zip cannot be read (BadZipFile); {ZIP}"]),
    "zip of a folder": ("va", zipped(("out/a.txt", ""), ("out/b.txt", "")), [
        ": 'out/a.txt': expected files <video>.txt, in no folder",
        ": 'out/b.txt': expected files <video>.txt, in no folder",
    ]),
    "zip that leaves its folder": ("va", zipped(("../a.txt", "")), [
        ": '../a.txt': expected files <video>.txt, in no folder",
    ]),
    "zip of other files": ("va", zipped(("a.csv", ""), ("notes.md", "")), [
        ": 'a.csv': expected files <video>.txt, in no folder",
        ": 'notes.md': expected files <video>.txt, in no folder",
    ]),
}  # fmt: skip


def write(path: Path, content: str | bytes | dict[str, str]) -> Path:
    if isinstance(content, dict):
        path.mkdir()
        for name, own in content.items():
            (path / name).write_bytes(own.encode())
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("case", CORPUS)
def test_every_reason_is_found(tmp_path: Path, case: str) -> None:
    track, change, expected = CORPUS[case]
    template = write(tmp_path / "t.txt", text(good(track)))
    path = write(tmp_path / "s", change(good(track)))
    _, reasons = check(path, read_template(template, TRACKS[track]))
    assert [line.removeprefix(str(path)).replace(f"{tmp_path}/", "") for line in reasons.lines] == expected
