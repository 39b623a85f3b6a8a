"""Folders and files on any file system: ordinary paths where they are local, fsspec behind `s3://`, `gs://` and others.

Credentials and endpoints come from where each file system looks for them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...,
or fsspec's configuration files). A local file never pays for this: millions of images are opened by `open` alone.
"""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from abaw.problems import BadInput, refuse

REQUESTS = 32
"""Files that one process fetches from a remote file system at a time: each waits for the network, not for the CPU."""
MOST_BYTES = 256 * 2**20
"""A larger local file is not read as an image or label: it would not fit in memory beside others."""


def absolute(path: Path) -> Path:
    """The path from the top of its file system, without `..`: its last part names what it leads to."""
    return path if is_remote(path) else Path(os.path.abspath(path))


def as_path(text: str | Path) -> Path:
    """A path for `text`: an ordinary one where it is local, else a UPath, which has the same methods.

    BadInput when the text is not UTF-8, since no table can hold the paths below it, or when it names a file system
    whose package is not installed: `s3://` needs the extra `s3`.
    """
    if not is_text(str(text)):
        raise refuse(shown(str(text)), "its name is not UTF-8; rename it")
    if not is_remote(text):
        return Path(text)
    try:
        # Other processes write to the same folders: a remembered listing would be out of date.
        path = UPath(text, use_listings_cache=False)
        assert path.fs
        return cast(Path, path)
    except (ImportError, ValueError) as error:
        raise refuse(
            text,
            f"{error}; expected a local path, or a URL whose package is installed: s3fs for s3://, gcsfs for gs://",
        ) from error


def is_remote(path: str | Path) -> bool:
    """Whether a path or its text is a URL, such as `s3://bucket/folder`."""
    return "://" in str(path)


def is_text(name: str) -> bool:
    """Whether a name can stand in a table: those of files may hold any bytes."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    r"""A path as text that any file can hold: bytes that are not UTF-8 as `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def reaching(place: str | Path) -> Iterator[None]:
    """BadInput for whatever a remote file system raises: each has errors of its own for network and credentials.

    Where `place` is local, errors pass as they are.
    """
    try:
        yield
    except (AssertionError, BadInput):
        raise
    except Exception as error:
        if not is_remote(place):
            raise
        why = f"{type(error).__name__}: {error}"
        raise refuse(place, f"cannot be reached: {why}; check the network and the credentials") from error


def read_files(paths: Sequence[str]) -> Iterator[bytes | OSError]:
    """The content of each file, or why it cannot be had; no more than one, or `REQUESTS` remote ones, are held.

    On a remote file system only a missing file is an answer; what fails for the network or the credentials is BadInput,
    as the images would all be there with better ones.
    """
    if not any(map(is_remote, paths)):
        yield from map(_read, paths)
        return
    with ThreadPoolExecutor(REQUESTS) as pool:
        for start in range(0, len(paths), REQUESTS):
            yield from pool.map(_read_or_fetch, paths[start : start + REQUESTS])


def file_sizes(folder: Path) -> dict[str, int]:
    """The bytes of every file at any depth, by its path below the folder; empty where there is no such folder."""
    system, root = _file_system(folder)
    with reaching(folder):
        found = system.find(root, detail=True)
    return {name.removeprefix(root.rstrip("/") + "/"): int(entry["size"]) for name, entry in sorted(found.items())}


def remove_folder(folder: Path) -> None:
    """Remove a folder and all that it holds."""
    if is_remote(folder):
        system, root = _file_system(folder)
        system.rm(root, recursive=True)
    else:
        shutil.rmtree(folder)


def claim_folder(out: Path, ours: Sequence[str], *, go_on: bool, put_there: Sequence[str] = ()) -> bool:
    """Make `out` a folder to write to; whether it holds anything. Nothing is removed.

    Args:
        out: folder, local or remote.
        ours: names that the command writes there, `*` for any letters.
        go_on: `--resume` or `--overwrite` is given.
        put_there: those of the names that a person may have put there before the first run.

    BadInput when it holds anything else, or any of `ours` unless `go_on`, or when it cannot be made.
    """
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    foreign = [shown(name) for name in there if not any(fnmatchcase(name, pattern) for pattern in ours)]
    if foreign:
        message = f"is not empty, it holds {', '.join(foreign[:5])}, which this command does not write or replace"
        raise refuse(out, f"{message}; give a new folder")
    made = [name for name in there if name not in put_there]
    if made and not go_on:
        what = "give --resume to finish it, --overwrite to replace it, or a new folder"
        raise refuse(out, f"is not empty, it holds {', '.join(made[:5])}; {what}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refuse(out, f"cannot be made: {error}; give a folder that can be written to") from error
    return bool(there)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A local file to write, which then appears at `path` whole; after an exception or a kill it does not appear."""
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / path.name
            yield local
            with reaching(path):
                system, target = _file_system(path)
                system.put_file(str(local), target)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two tasks may write the same file, when a machine is lost and comes back: each has a name of its own.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole."""
    with appearing(path) as local:
        local.write_text(text, encoding="utf-8")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file from a local disk to another file system, or back; the copy appears whole."""
    if is_remote(target):
        system, name = _file_system(target)
        system.put_file(str(source), name)
    else:
        system, name = _file_system(source)
        with appearing(target) as local:
            system.get_file(name, str(local))


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file on any file system: its end is read, then the columns and row groups that are asked for."""
    if not is_remote(path):
        return pq.ParquetFile(str(path))
    system, name = _file_system(path)
    return pq.ParquetFile(system.open(name, "rb", cache_type="none"), pre_buffer=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_system(path: Path) -> tuple[AbstractFileSystem, str]:
    if is_remote(path):
        remote = cast(UPath, path)
        return remote.fs, remote.path
    return LocalFileSystem(), str(path.absolute())


def _read(path: str) -> bytes | OSError:
    try:
        # A pipe has no end to read to; without O_NONBLOCK, opening it would wait for a writer.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return OSError(errno.EINVAL, "is no regular file")
            if status.st_size > MOST_BYTES:
                return OSError(errno.EFBIG, f"has {status.st_size:,} bytes; expected at most {MOST_BYTES:,}")
            return file.read()
    except OSError as error:
        return error


def _read_or_fetch(path: str) -> bytes | OSError:
    return _fetch(path) if is_remote(path) else _read(path)


def _fetch(path: str) -> bytes | OSError:
    system, name = _file_system(as_path(path))
    with reaching(path):
        try:
            return cast(bytes, system.cat_file(name))
        except FileNotFoundError as error:
            return error
