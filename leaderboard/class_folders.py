"""Labels that are folders: the images of LSD, each below the folder of its class (`val/ANGER/12.jpg`).

The class folders are in upper case; one was delivered as `ANGRER`. They lie in the folder that is given, or in one set
(`train`, `val`) below it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from abaw.annotations import CLASS_FOLDERS
from leaderboard.reasons import Reasons

JPEG = re.compile(r"(?i)(.*)\.jpe?g$")
NUMBER = re.compile(r"[0-9]{1,9}")


def read_class_folders(root: Path) -> pl.DataFrame:
    """`image` and `expression` of every image, sorted by class folder and name.

    An image is named as a submission names it: `12.jpg`, where the names of all images are different numbers. Else its
    class folder is named too, `FEAR/12.jpg`; and where the names in it are no different numbers, an image has its place
    in their order, from 1.

    BadInput when there are several sets, no class folder, or images that lie in none.
    """
    found = _images(root)
    names = [name for own in found.values() for name in own]
    alone = _are_numbers(names)
    rows = []
    for folder, own in sorted(found.items()):
        numbered = alone or _are_numbers(own)
        for place, name in enumerate(sorted(own), start=1):
            image = f"{int(name) if numbered else place}.jpg"
            rows.append((image if alone else f"{folder}/{image}", CLASS_FOLDERS[folder.upper()]))
    return pl.DataFrame(rows, schema={"image": pl.String, "expression": pl.Int8}, orient="row")


def _are_numbers(names: list[str]) -> bool:
    """Whether all are numbers, and each another one."""
    numbers = {int(name) for name in names if NUMBER.fullmatch(name)}
    return len(numbers) == len(names)


def _images(root: Path) -> Mapping[str, list[str]]:
    """The names, without `.jpg`, of the images below each class folder of the one set."""
    reasons = Reasons()
    expected = f"expected class folders: {', '.join(CLASS_FOLDERS)}"
    images: dict[str, list[str]] = {}
    sets: set[str] = set()
    outside: dict[str, int] = {}
    for folder, name in _jpegs(root):
        parts = folder.split("/")
        depth = next((k for k, part in enumerate(parts) if part.upper() in CLASS_FOLDERS), None)
        if depth is None:
            outside[folder] = outside.get(folder, 0) + 1
        else:
            sets.add("/".join(parts[:depth]))
            images.setdefault(parts[depth], []).append(name)
    for folder, number in sorted(outside.items() if images else ()):
        reasons.add("wrong labels", root / folder, f"{number:,} images lie in no class folder; {expected}")
    if len(sets) > 1:
        names = ", ".join(str(root / one) for one in sorted(sets))
        reasons.add("wrong labels", root, f"holds several sets of class folders; name one: {names}")
    if not images:
        holds = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
        reasons.add("wrong labels", root, f"no image in a class folder; {expected}; it holds {holds}")
    reasons.raise_any()
    return images


def _jpegs(root: Path) -> Iterator[tuple[str, str]]:
    """Folder (below the root, with `/`) and name (without its end) of every JPEG that is not hidden, sorted."""
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            if (found := JPEG.fullmatch(name)) and not name.startswith("."):
                yield Path(folder).relative_to(root).as_posix(), found[1]
