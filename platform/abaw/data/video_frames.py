"""Decoded frames of a video by PyAV: frame k is the k-th decoded frame in presentation order, from 1.

Decoding stops at the first packet that cannot be decoded: what comes after it could not be numbered, and a number that
is off by one gives every later frame the wrong label.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abaw.data.detectors.weights import need_extra
from abaw.data.shard_file import MAX_PIXELS

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

MISSING_FRAMES, MISSING_S = 2, 0.2
"""A video is cut when its header promises more frames or seconds than these beyond what decodes."""


class VideoCut(Exception):
    """A video that ends before its end; the message says how, all frames before were given."""


class NoVideo(Exception):
    """A file that cannot be opened as a video; the message says why."""


def read_frames(path: Path) -> Iterator[tuple[int, NDArray[np.uint8], bool]]:
    """Frame number, RGB pixels (height, width, 3) turned upright, and whether the decoder calls the frame damaged.

    Raises NoVideo when nothing can be opened, VideoCut after the last frame of a video that is cut.
    """
    av: Any = need_extra("av", "video")
    if path.exists() and not path.is_file():
        raise NoVideo("is no regular file")  # a pipe would be waited for without end
    try:
        container = av.open(path.open("rb"))
    except (OSError, ValueError) as error:  # PyAV's errors are both
        raise NoVideo(f"cannot be opened: {_text(error)}") from error
    with container:
        if not container.streams.video:
            raise NoVideo("holds no video stream")
        stream = container.streams.video[0]
        if container.format.name.endswith("_pipe"):
            raise NoVideo("holds a picture; expected a video, whatever the name says")
        if stream.height * stream.width > MAX_PIXELS:
            raise NoVideo(f"{stream.width} x {stream.height} pixels; expected at most {MAX_PIXELS:,} pixels")
        frame, number = None, 0
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames)
            except StopIteration:
                break
            except (OSError, ValueError) as error:
                raise VideoCut(f"after frame {number}{_of(stream)}: {_text(error)}") from error
            number += 1
            upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            yield number, np.ascontiguousarray(upright), bool(frame.is_corrupt)
        missing = _missing(stream, frame, number)
        if missing:
            raise VideoCut(f"after frame {number}{_of(stream)}: {missing}")


def _missing(stream: "VideoStream", last: "VideoFrame | None", number: int) -> str:
    """What the header promises beyond the last frame; empty where nothing is missing."""
    if stream.frames - number > MISSING_FRAMES:
        return f"{stream.frames - number} more frames are announced"
    promised_s = _duration_s(stream)
    if last is None or last.time is None or promised_s is None:
        return ""
    rest_s = promised_s - last.time - float(1 / (stream.average_rate or 1))
    return f"{rest_s:.1f} more seconds are announced" if rest_s > MISSING_S else ""


def _duration_s(stream: "VideoStream") -> float | None:
    """Seconds that the header promises: of the stream itself, or of a file that holds no other stream."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    text = stream.metadata.get("DURATION", "")  # Matroska: 00:01:02.345000000
    hours, _, rest = text.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()
    except ValueError:
        pass
    alone = len(stream.container.streams) == 1
    duration = getattr(stream.container, "duration", None)
    return duration / 1e6 if alone and duration is not None else None


def _of(stream: "VideoStream") -> str:
    return f" of {stream.frames}" if stream.frames else ""


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
