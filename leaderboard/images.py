"""Names of images in submission files: `video/00001.jpg`, or `0.jpg` in the tracks of still images.

The name is the key that joins predictions, templates and truth. A prediction table holds (video, frame) instead; a
still image has the empty video.
"""

import polars as pl

from abaw.tracks import Track

VIDEO_FRAME = r"^([^/]+)/(0000[1-9]|000[1-9][0-9]|00[1-9][0-9]{2}|0[1-9][0-9]{3}|[1-9][0-9]{4,8})\.jpg$"
"""Frames count from 1 and have at least five digits."""
STILL = r"^(?:([^/]+)/)?([0-9]{1,9})\.jpg$"


def of_stills(track: Track) -> bool:
    """Whether the track's images are single pictures (LSD, AffectNet, Emo135) and not frames of videos."""
    return track.submission_header == ("image", "expression")


def name_pattern(track: Track) -> str:
    """Regular expression of the track's image names; groups: video, frame."""
    return STILL if of_stills(track) else VIDEO_FRAME


def name_text(track: Track) -> str:
    """The form of an image name in words, for error messages."""
    return "<number>.jpg, such as 0.jpg" if of_stills(track) else "<video>/<frame>.jpg, such as video1/00001.jpg"


def image_names(video: pl.Series, frame: pl.Series, track: Track) -> pl.Series:
    """The names (N,) of frames, as the organisers write them."""
    number = pl.lit(frame).cast(pl.String)
    if of_stills(track):
        folder = pl.when(pl.lit(video) == "").then(pl.lit("")).otherwise(pl.lit(video) + "/")
        return pl.select((folder + number + ".jpg").alias("image")).to_series()
    return pl.select((pl.lit(video) + "/" + number.str.zfill(5) + ".jpg").alias("image")).to_series()


def places(image: pl.Series) -> pl.DataFrame:
    """The columns `video` (String, "" for a still image without a folder) and `frame` (Int32) of well-formed names."""
    parts = pl.lit(image).str.splitn("/", 2).struct
    in_folder = parts.field("field_1").is_not_null()
    number = pl.coalesce(parts.field("field_1"), parts.field("field_0")).str.strip_suffix(".jpg")
    video = pl.when(in_folder).then(parts.field("field_0")).otherwise(pl.lit(""))
    return pl.select(video.alias("video"), number.cast(pl.Int32).alias("frame"))


def looks_like_a_row(field: str) -> bool:
    """Whether the first field of a line is meant as an image and not as a header, well formed or not."""
    return "/" in field or field.strip().lower().endswith((".jpg", ".jpeg", ".png"))


def plain_names(image: pl.Series, track: Track) -> pl.Series:
    """The names as `image_names` makes them: still images without leading zeros, `00012.jpg` as `12.jpg`."""
    if not of_stills(track) or not len(image):
        return image
    place = places(image)
    return image_names(place["video"], place["frame"], track)


def count_videos(image: pl.Series) -> int:
    """Number of videos among the names; still images without a folder belong to none."""
    video = places(image)["video"]
    return video.filter(video != "").n_unique() if len(video) else 0
