"""Zips that are submissions: one file, or ABAW3's one file a video, as `leaderboard export` packs them.

They are read in memory. Which files a zip may hold is said once, in `leaderboard.uploads`.
"""

import zipfile
from pathlib import Path

from leaderboard.reasons import Reasons
from leaderboard.uploads import FORMS, UNREADABLE, Refusal, check_members

STARTS = (b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of a zip; the second of one that holds nothing."""
MOST_BYTES = 2**30
"""Of what a zip says it holds; no more is read. A million rows take 30 MB."""


def is_zip(path: Path) -> bool:
    """Whether this is a zip, whatever its name; false where there is no such file."""
    try:
        with path.open("rb") as file:
            return file.read(4) in STARTS
    except OSError:
        return False


def read_zip(path: Path, reasons: Reasons) -> dict[Path, bytes]:
    """The content of its files by `path/name`, sorted; none (and a reason) where it cannot be read as a submission."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(archive.infolist(), key=lambda member: member.filename)
            if not members:
                reasons.add("unreadable file", path, f"the zip holds no file; {FORMS}")
                return {}
            check_members(members)
            if (size := sum(member.file_size for member in members)) > MOST_BYTES:
                reasons.add("unreadable file", path, f"the zip holds {size:,} bytes; expected at most {MOST_BYTES:,}")
                return {}
            return {path / member.filename: archive.read(member) for member in members}
    except Refusal as refusal:
        for message in refusal.reasons or (refusal.message,):
            reasons.add("unreadable file", path, message)
    except (zipfile.BadZipFile, *UNREADABLE) as error:
        reasons.add("unreadable file", path, f"the zip cannot be read ({type(error).__name__}); {FORMS}")
    return {}


def is_one_file(contents: dict[Path, bytes]) -> bool:
    """Whether a zip holds the one official file, and not one file a video; its header says so."""
    return len(contents) == 1 and _start(contents).startswith(b"image")


def _start(contents: dict[Path, bytes]) -> bytes:
    return next(iter(contents.values()))[:20].removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def holds_videos(path: Path) -> bool:
    """Whether a submission has ABAW3's form, one file a video: a folder, or a zip of one."""
    return path.is_dir() or (is_zip(path) and not is_one_file(read_zip(path, Reasons())))
