"""Any bytes as choices.csv: refused with reasons, or exactly the rows that it says; and a second run reads the same."""

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaw.data.align import CHOICES
from abaw.data.choices import Stretch, update_choices
from abaw.problems import BadInput

fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADER = b"video,first,last,choose\n"
VIDEOS = ["a", "é ,", 'b"\n\u2028']
PIECES = [
    *(b"a,1,,left\n", b"a,10,20,none\r\n", b'"\xc3\xa9 ,",3,3,right\n', b"a,5,4,left\n", b"z,1,,left\n", b"a,0,,left"),
    *(b"a,", b"1,", b"2", b"-1", b"1_0", b"\xd9\xa3", b"9" * 20, b"9" * 5000, b"x" * 140_000, b"left", b"Left", b" "),
    *(b",", b'"', b"'", b"\n", b"\r"),
    *(b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8"),
]
contents = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)


def plain_rows(text: str) -> dict[str, list[Stretch]]:
    """The rows of a table without quotes, line by line; ValueError where one is wrong."""
    rows: dict[str, list[Stretch]] = {}
    first, *lines = re.split(r"\r\n|\r|\n", text)
    if text and first != HEADER.decode().strip():
        raise ValueError(first)
    for line in lines:
        if not line.strip(","):
            continue
        video, start, end, choose = line.split(",")
        numbers = [int(number) for number in (start, end) if re.fullmatch("[0-9]{1,9}", number)]
        good = len(numbers) == (2 if end else 1) and 1 <= numbers[0] <= numbers[-1]
        if not good or video not in VIDEOS or choose not in CHOICES:
            raise ValueError(line)
        rows.setdefault(video, []).append(Stretch(first=numbers[0], last=numbers[1] if end else None, choose=choose))
    return rows


@fuzz
@given(content=contents, header=st.booleans())
def test_a_table_is_refused_or_read_exactly(tmp_path: Path, content: bytes, header: bool) -> None:
    path, content = tmp_path / "choices.csv", (HEADER if header else b"") + content
    path.write_bytes(content)
    try:
        rows = update_choices(path, VIDEOS, "largest")
    except BadInput:
        assert path.read_bytes() == content, "what a person wrote stays"
        assert b'"' in content or not is_good(content)
        return
    assert path.read_bytes().startswith(content), "rows are added at the end alone"
    assert b'"' in content or is_good(content)
    if b'"' not in content:
        default = {video: [Stretch(first=1, last=None, choose="largest")] for video in VIDEOS}
        assert rows == default | plain_rows(content.decode("utf-8-sig"))
    written = path.read_bytes()
    assert update_choices(path, VIDEOS, "left") == rows
    assert path.read_bytes() == written


def is_good(content: bytes) -> bool:
    try:
        plain_rows(content.decode("utf-8-sig"))
    except ValueError:
        return False
    return True
