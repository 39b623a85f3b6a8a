"""Files whose fields are separated by something else than commas, or quoted, as spreadsheets and R write them.

Line by line such a file is wrong in each of its values. It is told once instead.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from abaw.tracks import Track
from leaderboard.images import name_pattern
from leaderboard.reasons import Reasons

SEPARATORS = {";": "semicolons", "\t": "tabs", " ": "spaces", "|": "bars"}
LOOKED_AT = 100
"""Lines that tell how a file is separated."""
VALUE = re.compile(r"[-+]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][-+]?[0-9]+)?")
"""A number, also one with a decimal comma. A long run of digits is refused in linear time."""


def check_commas(header: str, expected: Sequence[str], body: bytes, path: Path, track: Track, reasons: Reasons) -> bool:
    """Whether the lines below the header can be read. One reason is added where they or the header have no commas.

    Of a file in quotes, header and lines, one reason is added too.
    A line of `body` begins with the name of its image. `expected` are the names of the header.
    """
    if body.startswith(b'"') and [name.strip(' "') for name in header.split(",")] == list(expected):
        message = f"the fields stand in quotes; expected none: {','.join(expected)!r}"
        reasons.add("wrong separator", path, message, line=1)
        return False
    rows = _separated_rows(body.split(b"\n", LOOKED_AT)[:LOOKED_AT], track)
    name, line = rows or (None, 0)
    if own := separated_header(header, expected):
        name, line = own, 1
    if name:
        message = f"the fields are separated by {name}; expected commas: {','.join(expected)!r}"
        reasons.add("wrong separator", path, message, line=line)
    return rows is None


def separated_header(header: str, expected: Sequence[str]) -> str | None:
    """What separates the names of a header that would be the expected one with commas: "semicolons"; else None."""
    return next((name for sign, name in SEPARATORS.items() if _fields(header, sign) == list(expected)), None)


def separated_name(text: str, track: Track) -> str | None:
    """What separates the name of an image from what follows, if no comma does."""
    pattern = name_pattern(track)
    return next((name for sign, name in SEPARATORS.items() if re.match(pattern, _fields(text, sign)[0])), None)


def _separated_rows(lines: Sequence[bytes], track: Track) -> tuple[str, int] | None:
    """What separates the fields of most of these lines, if no commas do; and the first such line, from 2."""
    found = [_separator(line.decode("utf-8", errors="replace"), track) for line in lines]
    for name in SEPARATORS.values():
        if found.count(name) * 2 > len(found):
            return name, found.index(name) + 2
    return None


def _separator(text: str, track: Track) -> str | None:
    """What separates the fields of a line that is a row but for its separators, those after the name at least."""
    if _is_row(_fields(text, ","), track):
        return None
    image, _, values = text.partition(",")
    for sign, name in SEPARATORS.items():
        later = sign in values.strip() and _is_row([image, *_fields(values, sign)], track)
        if later or _is_row(_fields(text, sign), track):
            return name
    return None


def _is_row(fields: Sequence[str], track: Track) -> bool:
    image, *values = fields
    right = len(values) == len(track.label_columns) and all(map(VALUE.fullmatch, values))
    return right and bool(re.match(name_pattern(track), image))


def _fields(text: str, sign: str) -> list[str]:
    parts = text.split() if sign == " " else text.strip().rstrip(sign).split(sign)
    return [part.strip() for part in parts] or [""]
