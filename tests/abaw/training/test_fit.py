"""Two DDP workers of Ray Train: jobs share one group, nothing waits for ever, scores are merged exactly."""

import json
from dataclasses import replace

import numpy as np
import pytest

from abaw import runs
from abaw.data.batches import Loading
from abaw.models.vit import VitConfig
from abaw.predictions import read_predictions
from abaw.systems.multitask import MultiTask
from abaw.tracks import get_track
from abaw.training.checkpoints import load_weights
from abaw.training.evaluation import predict, statistics_of, summary_over_workers
from abaw.training.fit import fit_together
from abaw.training.frames import open_frames
from abaw.training.resources import Resources
from abaw.training.workers import Worker

MTL = get_track("mtl")


@pytest.mark.slow
def test_two_workers_of_two_decoders_train_the_jobs_that_can_be_in_one_group_on_two_cpus(shards, make_job, tmp_path):
    batch_norm = MultiTask(encoder=VitConfig(size="micro", image_size=32, stem="conv"))
    first = replace(make_job(shards, tmp_path / "first"), system=batch_norm)
    second = replace(
        make_job(shards, tmp_path / "second"),
        system=batch_norm,
        name="finetune/fold-1",
        init={"encoder": str(tmp_path / "first" / "checkpoints" / "final.safetensors")},
    )
    resources = Resources(workers=2, loading=Loading(decoders=2))
    broken = replace(make_job(shards, tmp_path / "broken", batch_size=1024), name="finetune/fold-2")
    (problem,) = fit_together([broken, first, second], resources=resources, scratch=tmp_path / "ray")
    assert problem.path == str(tmp_path / "broken")
    assert problem.message.startswith("finetune/fold-2 failed: an epoch takes 96 of the 96 frames")
    assert not (tmp_path / "broken" / "result.json").exists()
    told = json.loads((second.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert "100 % of the network's values" in told["started_from"][0]
    for job in (first, second):
        held_out = read_predictions(job.folder / "predictions" / "held_out.parquet", MTL)
        assert held_out.num_rows == 48
        result = runs.read_result(job.folder)
        assert statistics_of(held_out, MTL).compute() == pytest.approx(result["metrics"], abs=1e-12)
        alone = summary_over_workers(held_out, MTL, Worker(), seed=job.seed)
        assert result["interval"] == pytest.approx(alone["interval"], abs=1e-12)
        assert (result["frames"], result["videos"]) == (alone["frames"], alone["videos"]) == (48, 2)
        assert_predicted_by_the_saved_weights(job, held_out)
    assert list((tmp_path / "ray").iterdir()) == []


def assert_predicted_by_the_saved_weights(job, held_out):
    """Both ranks predicted with what was saved, the statistics of batch norm too."""
    system = job.system.build()
    system.load_state_dict(load_weights(job.folder / "checkpoints" / "final.safetensors"))
    source = open_frames(job.held_out, track=None)
    _, alone = predict(system, source, track=MTL, worker=Worker(), augmentation=job.optimisation.augmentation)
    for name in MTL.columns:
        np.testing.assert_allclose(held_out[name].to_numpy(), alone[name].to_numpy(), atol=1e-5)
