"""Names of images in submission files: `video/00001.jpg`, or `0.jpg` in the tracks of still images.

The name is the key that joins predictions, templates and truth. A prediction table holds (video, frame) instead; a
still image has the empty video.
"""

from typing import TYPE_CHECKING

from abaw.tracks import Track

if TYPE_CHECKING:
    # Imported by the functions that need it: scoring clean files goes without, and is done before Polars is loaded.
    import polars as pl

VIDEO_FRAME = r"^([^/,]+)/(0000[1-9]|000[1-9][0-9]|00[1-9][0-9]{2}|0[1-9][0-9]{3}|[1-9][0-9]{4,8})\.jpg$"
"""Frames count from 1 and have at least five digits."""
STILL = r"^(?:([^/,]+)/)?([0-9]{1,9})\.jpg$"


def of_stills(track: Track) -> bool:
    """Whether the track's images are single pictures (LSD, AffectNet, Emo135) and not frames of videos."""
    return track.submission_header == ("image", "expression")


def name_pattern(track: Track) -> str:
    """Regular expression of the track's image names; groups: video, frame."""
    return STILL if of_stills(track) else VIDEO_FRAME


def name_text(track: Track) -> str:
    """The form of an image name in words, for error messages."""
    return "<number>.jpg, such as 0.jpg" if of_stills(track) else "<video>/<frame>.jpg, such as video1/00001.jpg"


def image_names(video: "pl.Series", frame: "pl.Series", track: Track) -> "pl.Series":
    """The names (N,) of frames, as the organisers write them."""
    import polars as pl

    number = pl.lit(frame).cast(pl.String)
    if of_stills(track):
        folder = pl.when(pl.lit(video) == "").then(pl.lit("")).otherwise(pl.lit(video) + "/")
        return pl.select((folder + number + ".jpg").alias("image")).to_series()
    return pl.select((pl.lit(video) + "/" + number.str.zfill(5) + ".jpg").alias("image")).to_series()


def places(image: "pl.Series") -> "pl.DataFrame":
    """The columns `video` (String, "" for a still image without a folder) and `frame` (Int32) of well-formed names.

    A prediction table may have folders in folders as the video of a still image.
    """
    import polars as pl

    video = pl.when(pl.col("field_1").is_not_null()).then("field_0").otherwise(pl.lit("")).alias("video")
    number = pl.coalesce("field_1", "field_0").str.strip_suffix(".jpg")
    # Split once: as an expression, Polars splits every name again for each column that is made of its parts.
    parts = image.str.splitn("/", 2).struct.unnest()
    place = parts.select(video, number.cast(pl.Int32, strict=False).alias("frame"))
    if not place["frame"].null_count():
        return place
    last = image.str.extract_groups("^(?:(.*)/)?([^/]*)$").struct.rename_fields(["field_0", "field_1"]).struct.unnest()
    return last.select(pl.col("field_0").fill_null("").alias("video"), number.cast(pl.Int32).alias("frame"))


def last_frames(image: "pl.Series") -> "pl.DataFrame":
    """`video`, and `last`: the number of its last frame among the names."""
    import polars as pl

    return places(image).group_by("video").agg(pl.col("frame").max().alias("last"))


def looks_like_a_row(field: str) -> bool:
    """Whether the first field of a line is meant as an image and not as a header, well formed or not."""
    return "/" in field or field.strip().lower().endswith((".jpg", ".jpeg", ".png"))


def plain_names(image: "pl.Series", track: Track) -> "pl.Series":
    """The names as `image_names` makes them: still images without leading zeros, `00012.jpg` as `12.jpg`."""
    if not of_stills(track) or not len(image):
        return image
    place = places(image)
    return image_names(place["video"], place["frame"], track)


def as_asked(image: "pl.Series", asked: "pl.Series", track: Track) -> "pl.Series":
    """The names (N,) of predicted still images as they are asked for: without the one folder in which they lie.

    `abaw prepare` counts frames from 1: where images are asked for from `0.jpg` on, it has that one as frame 1.
    """
    import polars as pl

    if not of_stills(track) or image.is_empty() or asked.is_empty():
        return image
    have, wanted = places(image), places(asked)
    if have["video"].n_unique() > 1 or have["video"][0] == "" or (wanted["video"] != "").any():
        return image
    shift = 1 if wanted["frame"].min() == 0 and have["frame"].min() != 0 else 0
    return image_names(pl.Series([""]).new_from_index(0, len(have)), have["frame"] - shift, track)


def count_videos(image: "pl.Series", track: Track) -> int:
    """Number of videos among the names; still images belong to none, whatever their folders."""
    return 0 if of_stills(track) or image.is_empty() else places(image)["video"].n_unique()
