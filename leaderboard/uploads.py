"""Files from strangers: what an upload may be, found out before the reader sees it.

A submission file as text, or a zip of it or of ABAW3's folder of one file a video. Everything else is refused by its
first bytes: nothing here unpickles, and prediction tables stay with their owners. A zip is unpacked by hand: plain
names only, two methods of compression, and it ends when more bytes come out than an upload may have.
"""

import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PLAIN_NAME = re.compile(r"[^./\\:\x00-\x1f][^/\\:\x00-\x1f]*\.txt")
"""A file name without a folder, a drive, or a leading dot."""
LONGEST_NAME = 200
"""Bytes; file systems take 255."""
MOST_FILES = 5_000
"""Files in a zip; the challenges have fewer than a thousand videos."""
LONGEST_LINE = 4_096
"""Bytes of a line; those of the challenges have fewer than 200."""
ZIP_ENTRY = b"PK\x01\x02"
"""Each file of a zip has one such record in its directory, which is read whole."""
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""The others can ask for gigabytes of memory."""
UNREADABLE = (zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError, OverflowError)
"""What the standard library raises at bytes that are no zip."""
CHUNK = 1 << 16
FORMS = "expected the submission file as text, or a zip of it or of one <video>.txt a video"

NOT_TEXT = {
    b"\x80": ("pickle", "a pickle; these are never loaded"),
    b"PAR1": ("not-a-submission", "a prediction table; `leaderboard export` writes its submission file"),
    b"\x1f\x8b": ("not-a-submission", "compressed with gzip"),
    b"BZh": ("not-a-submission", "compressed with bzip2"),
    b"\xfd7zXZ": ("not-a-submission", "compressed with xz"),
    b"\x28\xb5\x2f\xfd": ("not-a-submission", "compressed with zstd"),
    b"7z\xbc\xaf": ("not-a-submission", "a 7z archive"),
    b"Rar!": ("not-a-submission", "a RAR archive"),
}
"""First bytes -> code and name of what is refused without a further look."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a client may send."""

    bytes: int = 100_000_000
    """Of an upload, and of what its zip holds. A million rows take 30 MB."""
    seconds: float = 300.0
    """From the first to the last byte of an upload."""
    uploads: int = 20
    """Uploads of a team in 24 hours, the refused ones among them."""


@dataclass
class Refusal(Exception):
    """A request that is refused: what the client is told."""

    status: int
    """Of HTTP."""
    code: str
    """Short and fixed, for programs and for the audit log."""
    message: str
    reasons: tuple[str, ...] = ()
    """Every reason why a submission is invalid, one line each."""
    headers: dict[str, str] = field(default_factory=dict)


def prepare(upload: Path, *, most_bytes: int, most_lines: int) -> Path:
    """The submission file, or the folder of one file a video, that an upload holds: `upload` itself or beside it.

    Raises Refusal for what is neither, or is larger than any submission of the template.
    """
    with upload.open("rb") as file:
        head = file.read(8)
    for start, (code, what) in NOT_TEXT.items():
        if head.startswith(start):
            raise Refusal(415, code, f"the upload is {what}; {FORMS}")
    submission = _unzip(upload, most_bytes) if head.startswith(b"PK") else upload
    files = sorted(submission.iterdir()) if submission.is_dir() else [submission]
    _check_lines(files, most_lines)
    return submission


def _check_lines(files: list[Path], most: int) -> None:
    """Refuse what would take the reader long: it lists every bad line."""
    total = 0
    for path in files:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                total += 1
                if len(line) == LONGEST_LINE:
                    raise Refusal(422, "too-large", f"line {total} has {LONGEST_LINE:,} bytes or more; {FORMS}")
                if total > most:
                    raise Refusal(422, "too-large", f"more than {most:,} lines: twice what the template asks for")


def _unzip(upload: Path, most_bytes: int) -> Path:
    """The file or the folder that a zip holds, unpacked beside it."""
    if (found := upload.read_bytes().count(ZIP_ENTRY)) > MOST_FILES:
        raise Refusal(422, "bad-archive", f"the zip holds {found:,} files; expected at most {MOST_FILES:,}")
    folder = upload.with_name("unzipped")
    folder.mkdir()
    try:
        with zipfile.ZipFile(upload) as archive:
            check_members(archive.infolist())
            left = most_bytes
            for member in archive.infolist():
                with archive.open(member) as packed, (folder / member.filename).open("xb") as file:
                    left -= _copy(packed, file, left, most_bytes)
    except (zipfile.BadZipFile, *UNREADABLE) as error:
        raise Refusal(422, "bad-archive", f"the zip cannot be read ({type(error).__name__}); {FORMS}") from None
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 and _starts_with_image(files[0]) else folder


def check_members(members: list[zipfile.ZipInfo]) -> None:
    """Refuse a zip for every file in it that is not a plain text file to unpack; all reasons at once."""
    reasons: list[str] = []
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if not PLAIN_NAME.fullmatch(name) or len(name.encode()) > LONGEST_NAME:
            reasons.append(f"{name[:200]!r}: expected files <video>.txt, in no folder")
        elif name.lower() in seen:
            reasons.append(f"{name!r}: is in the zip twice")
        elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            reasons.append(f"{name!r}: is no plain file")
        elif member.flag_bits & 1 or member.compress_type not in METHODS:
            reasons.append(f"{name!r}: is encrypted, or packed by a method other than deflate")
        seen.add(name.lower())
    if reasons or not members:
        told = (*reasons[:100], *([f"and {len(reasons) - 100:,} more"] if len(reasons) > 100 else []))
        raise Refusal(422, "bad-archive", f"the zip is not unpacked; {FORMS}", told)


def _copy(packed: IO[bytes], file: IO[bytes], left: int, most_bytes: int) -> int:
    """Unpack one file; what its header says of its size is not believed."""
    size = 0
    while chunk := packed.read(CHUNK):
        size += len(chunk)
        if size > left:
            raise Refusal(413, "too-large", f"the zip holds more than {most_bytes:,} bytes")
        file.write(chunk)
    return size


def _starts_with_image(path: Path) -> bool:
    """Whether a file is the submission of all videos: its header's first name is `image`, that of a video's is not."""
    with path.open("rb") as file:
        return file.read(20).removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(b"image")
