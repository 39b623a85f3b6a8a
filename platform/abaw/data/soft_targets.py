"""What a teacher said of each frame: the soft targets of self-distillation (MAE-Face section 3.2), from its table.

Legend: N rows of a source, C columns of a task.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from abaw.predictions import KEY
from abaw.problems import refuse
from abaw.tracks import Task


def read_soft_targets(
    paths: Sequence[Path], frames: pl.DataFrame, tasks: Sequence[Task]
) -> dict[str, NDArray[np.float32]]:
    """`soft_<task>` (N, C) of each row of `frames`: the mean over the tables that hold it.

    Raises BadInput when a table lacks the columns of the tasks, or a frame is in none of them.
    """
    columns = [name for task in tasks for name in task.columns]
    for path in paths:
        if missing := sorted(set(columns) - set(pq.read_schema(path).names)):
            raise refuse(path, f"lacks the columns {', '.join(missing)}; expected predictions of the same track")
    read = pl.concat([pl.read_parquet(path, columns=[*KEY, *columns]) for path in paths])
    mean = read.group_by(KEY).agg(pl.col(columns).mean())
    joined = frames.select(KEY).join(mean, on=KEY, how="left", maintain_order="left")
    absent = joined.filter(pl.col(columns[0]).is_null())
    if absent.height:
        video, frame = absent.row(0)[:2]
        raise refuse(
            paths[0],
            f"has no prediction for {absent.height} of {frames.height} frames, the first {video} frame {frame}; "
            "let the teacher predict the training frames",
        )
    return {
        f"soft_{task.name}": np.ascontiguousarray(joined.select(pl.col(task.columns).cast(pl.Float32)).to_numpy())
        for task in tasks
    }
