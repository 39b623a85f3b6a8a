"""The frames of a job, and what a job may not ask for: refused before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

from abaw.data.batches import FrameSource, Source
from abaw.data.features import FeatureSource
from abaw.data.sampling import epoch_size
from abaw.data.storage import as_path
from abaw.tracks import get_track
from abaw.training.job import Frames, TrainingJob


def open_frames(frames: Frames, *, track: str | None, soft_targets: Sequence[Path] = ()) -> Source:
    """The frames of a selection; with a track, only those that have a label for it.

    Of a feature cache it is always all frames: those without a label stand in the windows of the others.
    """
    if frames.features is not None:
        return FeatureSource(as_path(frames.features), videos=frames.videos, splits=frames.splits)
    return FrameSource(
        as_path(frames.shards),
        videos=frames.videos,
        splits=frames.splits,
        tasks=get_track(track).tasks if track is not None else (),
        soft_targets=soft_targets,
    )


def check(job: TrainingJob) -> None:
    """Refuse what the loop cannot do, before anything is opened."""
    settings = job.optimisation
    if settings.evaluate_every and (job.held_out is None or job.track is None):
        raise ValueError(
            f"{job.name}: evaluate_every needs a held-out fold and a track, this training has none; give 0"
        )
    if settings.keep and not settings.evaluate_every:
        raise ValueError(f"{job.name}: keep is {settings.keep}, and nothing is scored; give evaluate_every, such as 1")


def check_windows(job: TrainingJob, *, windows: bool) -> None:
    """Refuse frames for a system that takes windows of features, and windows for one that takes frames."""
    if not windows and job.optimisation.sampling.window:
        raise ValueError(f"{job.name}: sampling.window gives windows of frames, this system takes frames; give 0")
    if windows and not job.optimisation.sampling.window:
        raise ValueError(f"{job.name}: this system takes windows of frames; give sampling.window, such as 300")
    if windows != (job.train.features is not None):
        needs = "features of frames; give a feature cache" if windows else "images; give no feature cache"
        raise ValueError(f"{job.name}: this system takes {needs}")


def check_size(job: TrainingJob, source: Source) -> None:
    """Refuse an epoch that does not fill one batch."""
    settings = job.optimisation
    items = epoch_size(source.table, settings.sampling)
    if items < settings.batch_size:
        raise ValueError(
            f"{job.name}: an epoch takes {items} of the {len(source)} frames, which do not fill one batch of "
            f"{settings.batch_size}; lower optimisation.batch_size, or take more frames by optimisation.sampling"
        )
