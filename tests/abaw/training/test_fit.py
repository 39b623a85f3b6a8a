"""Two DDP workers of Ray Train: jobs share one group, and scores are merged exactly over the workers."""

from dataclasses import replace

import pytest

from abaw import runs
from abaw.predictions import read_predictions
from abaw.tracks import get_track
from abaw.training.evaluation import statistics_of, summary_over_workers
from abaw.training.fit import Resources, fit_together
from abaw.training.workers import Worker

MTL = get_track("mtl")


@pytest.mark.timeout(240)
def test_two_workers_train_two_jobs_in_one_group(shards, make_job, tmp_path):
    first = make_job(shards, tmp_path / "first")
    second = replace(
        make_job(shards, tmp_path / "second"),
        name="finetune/fold-1",
        init=tmp_path / "first" / "checkpoints" / "final.safetensors",
    )
    fit_together([first, second], resources=Resources(workers=2), scratch=tmp_path / "ray")
    for job in (first, second):
        held_out = read_predictions(job.folder / "predictions" / "held_out.parquet", MTL)
        assert held_out.num_rows == 48
        result = runs.read_result(job.folder)
        assert statistics_of(held_out, MTL).compute() == pytest.approx(result["metrics"], abs=1e-12)
        alone = summary_over_workers(held_out, MTL, Worker(), seed=job.seed)
        assert result["interval"] == pytest.approx(alone["interval"], abs=1e-12)
        assert (result["frames"], result["videos"]) == (alone["frames"], alone["videos"]) == (48, 2)
    assert list((tmp_path / "ray").iterdir()) == []
