"""Any bytes as an annotation file: either every reason why it is refused, or exactly the labels that it says.

The reference reads a file line by line with plain Python and knows nothing of the reader's tables.
"""

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from abaw.annotations import read_annotation, read_mtl_list
from abaw.problems import BadInput, Problem
from abaw.tracks import AU, AU_2020, CEXPR, EXPR, VA, Task, get_track

MTL_HEADER = b"image,valence,arousal,expression,aus"
TASKS = (VA, EXPR, AU, AU_2020, CEXPR)
WHITE = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c <= "\x1f")
"""Unicode's white space. Python also strips four control characters, which are refused in a value."""
fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain_label(task: Task, text: str) -> float | None:
    """What a value says, None where it says 'not annotated'; ValueError where it is no label."""
    if task.kind == "regression":
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
            raise ValueError(text)
        value = float(text)
        if value == -5:
            return None
        if not (math.isfinite(value) and -1 <= value <= 1):
            raise ValueError(text)
        return value
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(text)
    number = int(text)
    if number == -1:
        return None
    if not 0 <= number < (len(task.columns) if task.kind == "classes" else 2):
        raise ValueError(text)
    return number


def plain_lines(content: bytes, header: str) -> list[list[str]]:
    """The values of each line after the header."""
    text = content.decode("utf-8-sig").rstrip()
    first, *lines = text.split("\n")
    if [name.strip() for name in first.split(",")] != header.split(","):
        raise ValueError(first)
    return [[value.strip(WHITE) for value in line.strip(WHITE).split(",")] for line in lines]


def plain_annotation(content: bytes, task: Task) -> list[tuple[Any, ...]]:
    rows = []
    for frame, values in enumerate(plain_lines(content, ",".join(task.columns)), start=1):
        if len(values) != len(task.label_columns):
            raise ValueError(values)
        rows.append((frame, *(plain_label(task, value) for value in values)))
    if not rows:
        raise ValueError("no labels")
    return rows


def plain_list(content: bytes) -> list[tuple[Any, ...]]:
    tasks = [task for task in get_track("mtl").tasks for _ in task.label_columns]
    rows: dict[tuple[str, int], tuple[Any, ...]] = {}
    for image, *values in plain_lines(content, MTL_HEADER.decode()):
        place = re.fullmatch(r"([^/]+)/([0-9]{5}|[1-9][0-9]{5,8})\.jpg", image, re.ASCII)
        if place is None or int(place[2]) < 1 or len(values) != len(tasks) or (place[1], int(place[2])) in rows:
            raise ValueError(image)
        labels = (plain_label(task, value) for task, value in zip(tasks, values, strict=True))
        rows[place[1], int(place[2])] = tuple(labels)
    return [(*place, *labels) for place, labels in rows.items()]


def agree(read: Callable[[], pl.DataFrame], reference: Callable[[], list[tuple[Any, ...]]]) -> None:
    try:
        expected = reference()
    except ValueError:
        with pytest.raises(BadInput) as caught:
            read()
        assert all(problem.path and problem.message for problem in caught.value.problems)
    else:
        assert read().rows() == expected


SPICE = [
    *(b"", b"\n", b"\r\n", b"\r", b",", b" ", b"\t", b"\x00", b"\xff", b"\xc2\xa0", b"\xef\xbb\xbf", b"\x0b", b"\x1c"),
    *(b"-1", b"-5", b"-5.0", b"0", b"7", b"8", b"0.5", b".5", b"1.", b"-0", b"1e-1", b"1e400", b"nan", b"inf", b"0x1"),
    *(b"1_0", b"+1", b"\xd9\xa3", b"\xef\xbc\x91", b'"1"', b"#", b";", b"\x85", b"\xe2\x80\xa8", b"9" * 20, b"--1"),
    *(b"00001", b"a/00001.jpg", b"a/00000.jpg", b"/", b"a/99999999999.jpg", b"true", b"null"),
]
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(SPICE) | st.binary(max_size=3)), max_size=4
)
seeds = st.integers(0, 2**32)


def mutate(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """A good file with a few places replaced by what breaks parsers."""
    for place, length, replacement in changes:
        start = round(place * len(content))
        content = content[:start] + replacement + content[start + length :]
    return content


def good_row(task: Task, chance: random.Random) -> str:
    if task.kind == "regression":
        return ",".join(chance.choice(["-5", f"{chance.uniform(-1, 1):.4f}"]) for _ in task.label_columns)
    high = len(task.columns) - 1 if task.kind == "classes" else 1
    return ",".join(str(chance.randint(-1, high)) for _ in task.label_columns)


def good_annotation(task: Task, seed: int) -> bytes:
    chance = random.Random(seed)
    rows = [good_row(task, chance) for _ in range(chance.randint(1, 6))]
    return "\n".join([",".join(task.columns), *rows, ""]).encode()


def good_list(seed: int) -> bytes:
    chance = random.Random(seed)
    places = {(chance.choice(["102", "102-30-640x360", "é ,"]), chance.randint(1, 100_000)) for _ in range(4)}
    tasks = get_track("mtl").tasks
    rows = [",".join([f"{v}/{k:05d}.jpg", *(good_row(task, chance) for task in tasks)]) for v, k in sorted(places)]
    return "\n".join([MTL_HEADER.decode(), *rows]).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.txt"


@fuzz
@given(task=st.sampled_from(TASKS), seed=seeds, changes=edits)
def test_a_mutated_annotation_is_refused_or_read_exactly(
    path: Path, task: Task, seed: int, changes: list[tuple[float, int, bytes]]
) -> None:
    content = mutate(good_annotation(task, seed), changes)
    path.write_bytes(content)
    agree(lambda: read_annotation(path, task), lambda: plain_annotation(content, task))


@fuzz
@given(content=st.binary(max_size=200), body=st.booleans(), task=st.sampled_from(TASKS))
def test_no_bytes_are_read_as_something_else(path: Path, content: bytes, body: bool, task: Task) -> None:
    content = (",".join(task.columns).encode() + b"\n" if body else b"") + content
    path.write_bytes(content)
    agree(lambda: read_annotation(path, task), lambda: plain_annotation(content, task))


@fuzz
@given(seed=seeds, changes=edits)
def test_a_mutated_list_is_refused_or_read_exactly(
    path: Path, seed: int, changes: list[tuple[float, int, bytes]]
) -> None:
    content = mutate(good_list(seed), changes)
    path.write_bytes(content)
    agree(lambda: read_mtl_list(path), lambda: plain_list(content))


@fuzz
@given(task=st.sampled_from(TASKS), seed=seeds, changes=edits)
@example(task=VA, seed=1, changes=[(0.5, 0, b"\x1c")])
def test_collected_misfits_never_change_another_label(
    path: Path, task: Task, seed: int, changes: list[tuple[float, int, bytes]]
) -> None:
    content = mutate(good_annotation(task, seed), changes)
    path.write_bytes(content)
    misfits: list[Problem] = []
    try:
        table = read_annotation(path, task, misfits=misfits)
    except BadInput:
        with pytest.raises(ValueError):
            plain_annotation(content, task)
        return
    bad = {problem.line for problem in misfits}
    for line, (row, values) in enumerate(
        zip(table.rows(), plain_lines(content, ",".join(task.columns)), strict=True), 2
    ):
        labels, wrong = [], False
        for value in values:
            try:
                labels.append(plain_label(task, value))
            except ValueError:
                labels.append(None)
                wrong = True
        assert row[1:] == tuple(labels)
        assert (line in bad) == wrong


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        read_annotation(tmp_path, VA)
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        read_mtl_list(tmp_path)
