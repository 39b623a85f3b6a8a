"""One job on one worker: it learns, resumes exactly, is not repeated, and leaves what the next stages read."""

import json
import multiprocessing
import time
from dataclasses import dataclass, replace

import pytest
import torch

from abaw import runs
from abaw.data.sampling import Sampling
from abaw.predictions import read_predictions
from abaw.problems import BadInput
from abaw.systems.distillation import Distillation
from abaw.systems.system import System
from abaw.tracks import get_track
from abaw.training.checkpoints import Position, load_weights
from abaw.training.evaluation import statistics_of
from abaw.training.loop import Training, run_job
from abaw.training.workers import Worker

MTL = get_track("mtl")


def test_a_job_leaves_weights_predictions_and_its_result(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", epochs=8, evaluate_every=4)
    run_job(job, Worker())
    result = runs.read_result(job.folder)
    assert result["metrics"]["S_VA"] > 0.5
    assert (result["training_frames"], result["frames"], result["videos"]) == (96, 48, 2)
    held_out = read_predictions(job.folder / "predictions" / "held_out.parquet", MTL)
    assert set(held_out["video"].to_pylist()) == {"video4", "video5"}
    assert held_out.num_rows == 48
    assert set(held_out["fold"].to_pylist()) == {0}
    assert statistics_of(held_out, MTL).compute() == pytest.approx(result["metrics"], abs=1e-12)
    assert read_predictions(job.folder / "predictions" / "test.parquet", MTL).num_rows == 24
    lines = lines_of(job)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert lines[7 + 1]["loss"] < lines[0]["loss"]
    assert lines[4]["P_MTL"] > 0


def test_a_complete_job_is_not_repeated(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run")
    run_job(job, Worker())
    weights = job.folder / "checkpoints" / "final.safetensors"
    before = weights.stat().st_mtime_ns
    run_job(job, Worker())
    assert weights.stat().st_mtime_ns == before


def test_a_killed_and_resumed_run_ends_with_the_same_weights_bit_for_bit(shards, make_job, tmp_path):
    whole, killed = (make_job(shards, tmp_path / name, epochs=6) for name in ("whole", "killed"))
    run_job(whole, Worker())
    process = multiprocessing.get_context("spawn").Process(target=run_job, args=(killed, Worker()))
    process.start()
    while not (killed.folder / "checkpoints" / "last").exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not runs.is_complete(killed.folder)
    run_job(killed, Worker())
    one, other = (load_weights(job.folder / "checkpoints" / "final.safetensors") for job in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    tables = [read_predictions(job.folder / "predictions" / "held_out.parquet", MTL) for job in (whole, killed)]
    assert tables[0].equals(tables[1])


def lines_of(job):
    """What the job told after its start."""
    lines = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "starting" not in line]


def started(job):
    runs.start(job.folder, job)
    return job


def test_accumulation_splits_the_batch_and_keeps_the_number_of_steps(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "a")
    one = Training(started(job), Worker())
    other = Training(started(replace(job, optimisation=replace(job.optimisation, micro_batch=10))), Worker())
    assert one.steps == other.steps == 6
    sizes = [len(next(training._micro_batches(0))["index"]) for training in (one, other)]
    assert sizes == [16, 8]


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Rebuilds each image's brightness from its pixels: a loss that is a plain mean over frames."""

    def build(self):
        torch.manual_seed(0)
        return BrightnessSystem()


class BrightnessSystem(System):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)
        self.layers = 0

    def forward(self, batch, generator):
        pixels = batch["image"].float() / 255
        guessed = self.linear(pixels.mean(dim=(2, 3)) - 0.5)[:, 0]
        return {"brightness": (guessed - pixels.mean(dim=(1, 2, 3))).square().mean()}

    def predict(self, batch):
        raise NotImplementedError

    def layer_of(self, parameter):
        return 0


def weights_after(job, folder, **optimisation):
    settings = {"epochs": 2, "ema_decay": 0.0, "weight_decay": 0.0, "clip_norm": 0.0, **optimisation}
    changed = replace(job.optimisation, **settings)
    alone = replace(
        job, folder=folder, system=Brightness(), optimisation=changed, held_out=None, predict={}, track=None
    )
    run_job(alone, Worker())
    return load_weights(folder / "checkpoints" / "final.safetensors")["linear.weight"]


def test_accumulated_micro_batches_give_the_weights_of_the_whole_batch(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "unused")
    whole = weights_after(job, tmp_path / "whole")
    parts = weights_after(job, tmp_path / "parts", micro_batch=4)
    assert torch.allclose(whole, parts, atol=1e-6)
    assert not torch.allclose(whole, weights_after(job, tmp_path / "none", lr=0.0), atol=1e-4)


def test_clipping_bounds_the_gradient(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "unused")
    start = weights_after(job, tmp_path / "start", lr=0.0)
    free = weights_after(job, tmp_path / "free", epochs=1)
    # AdamW divides the gradient by its own size, up to 1e-8: one that is far smaller moves nothing.
    clipped = weights_after(job, tmp_path / "clipped", epochs=1, clip_norm=1e-13)
    assert (free - start).abs().max() > 1e-3
    assert (clipped - start).abs().max() < 1e-6


def test_what_the_loop_cannot_do_is_refused(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", evaluate_every=1)
    with pytest.raises(ValueError, match="evaluate_every needs a held-out fold and a track"):
        Training(started(replace(job, held_out=None)), Worker())
    windows = make_job(shards, tmp_path / "run", sampling=Sampling(window=4))
    with pytest.raises(ValueError, match="this system takes frames"):
        Training(started(windows), Worker())


def test_too_few_frames_for_a_batch_are_refused(shards, make_job, tmp_path):
    job = started(make_job(shards, tmp_path / "run", batch_size=1024))
    with pytest.raises(ValueError, match="an epoch takes 96 of the 96 frames, which do not fill one batch of 1024"):
        Training(job, Worker())


def test_final_weights_are_the_moving_average(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", epochs=1)
    run_job(job, Worker())
    training = Training(started(replace(job, folder=tmp_path / "again")), Worker())
    training.run()
    final = load_weights(job.folder / "checkpoints" / "final.safetensors")
    average = training.average.system.state_dict()
    assert all(torch.equal(final[name], average[name]) for name in average)


def test_iterations_end_inside_an_epoch(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", iterations=8, warmup_epochs=0)
    training = Training(started(job), Worker())
    assert (training.steps, training.total, training.epochs) == (6, 8, 2)
    training.run()
    assert [line["epoch"] for line in lines_of(job)] == [1, 2]
    assert {state["step"].item() for state in training.stepper.optimiser.state.values()} == {8}


def test_the_best_epochs_are_kept_and_predict(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", epochs=5, evaluate_every=1, keep=2)
    run_job(job, Worker())
    lines = lines_of(job)
    scores = {f"epoch-{line['epoch']:03d}": line["P_MTL"] for line in lines if "P_MTL" in line}
    best = sorted(scores, key=lambda name: -scores[name])[:2]
    assert list(runs.read_result(job.folder)["kept"]) == best
    assert sorted(path.stem for path in (job.folder / "checkpoints").glob("epoch-*")) == sorted(best)
    for name in best:
        held_out = read_predictions(job.folder / "predictions" / name / "held_out.parquet", MTL)
        assert statistics_of(held_out, MTL).compute()["P_MTL"] == pytest.approx(scores[name], abs=1e-9)
        assert read_predictions(job.folder / "predictions" / name / "test.parquet", MTL).num_rows == 24


def test_names_and_classes_that_do_not_fit_are_refused(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run")
    with pytest.raises(ValueError, match="init names 'dan', this system has the networks encoder"):
        Training(started(replace(job, init={"dan": "dan.pth"})), Worker())
    lsd = replace(job, system=replace(job.system, track="lsd"), track="lsd")
    with pytest.raises(BadInput, match="the shards number the expressions of mtl"):
        Training(started(lsd), Worker())
    with pytest.raises(ValueError, match="keep is 2, and nothing is scored; give evaluate_every"):
        Training(started(replace(job, optimisation=replace(job.optimisation, keep=2))), Worker())


def test_a_track_of_one_task_trains_on_the_frames_that_have_its_label(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run")
    alone = replace(job, system=replace(job.system, track="expr"), track="expr")
    everything, labelled = (Training(started(one), Worker()).source for one in (job, alone))
    assert len(everything) == 96
    assert len(labelled) == everything.table["expression"].drop_nulls().len() < 96


def test_soft_targets_of_a_teacher_reach_the_student(shards, make_job, tmp_path):
    teacher = make_job(shards, tmp_path / "teacher", epochs=1)
    run_job(replace(teacher, predict={"train": teacher.train}), Worker())
    cached = tmp_path / "teacher" / "predictions" / "train.parquet"
    student = replace(
        teacher, folder=tmp_path / "student", system=Distillation(student=teacher.system), soft_targets=(cached,)
    )
    batch = next(Training(started(student), Worker())._micro_batches(0))
    table = read_predictions(cached, MTL)
    rows = {(v, f): k for k, (v, f) in enumerate(zip(*(table[n].to_pylist() for n in ("video", "frame")), strict=True))}
    source = Training(started(student), Worker()).source.table
    for row, soft in zip(batch["index"].tolist(), batch["soft_va"].tolist(), strict=True):
        expected = rows[source["video"][row], source["frame"][row]]
        assert soft == [table[name][expected].as_py() for name in ("valence", "arousal")]
    held_out = tmp_path / "teacher" / "predictions" / "held_out.parquet"
    with pytest.raises(BadInput, match="has no prediction for 96 of 96 frames, the first video0 frame 1"):
        Training(started(replace(student, soft_targets=(held_out,))), Worker())


@dataclass(frozen=True, kw_only=True)
class Poisoned:
    """Brightness whose loss is no number at some steps, counted over the process."""

    bad: tuple[int, ...]

    def build(self):
        torch.manual_seed(0)
        return PoisonedSystem(self.bad)


class PoisonedSystem(BrightnessSystem):
    def __init__(self, bad):
        super().__init__()
        self.bad, self.calls = bad, 0

    def forward(self, batch, generator):
        self.calls += 1
        losses = super().forward(batch, generator)
        return {name: loss * float("nan") if self.calls in self.bad else loss for name, loss in losses.items()}


def poisoned(job, folder, *bad):
    settings = replace(job.optimisation, epochs=4, ema_decay=0.0, clip_norm=0.0)
    return replace(
        job, folder=folder, system=Poisoned(bad=bad), optimisation=settings, held_out=None, predict={}, track=None
    )


def test_a_loss_that_is_no_number_is_skipped_and_counted(shards, make_job, tmp_path):
    job = poisoned(make_job(shards, tmp_path / "unused"), tmp_path / "run", 3, 8)
    run_job(job, Worker())
    assert runs.read_result(job.folder)["skipped_steps"] == 2
    assert [line["skipped_steps"] for line in lines_of(job)] == [1, 2, 2, 2]
    weights = load_weights(job.folder / "checkpoints" / "final.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_divergence_goes_back_once_at_a_lower_rate(shards, make_job, tmp_path):
    # Six steps an epoch: from the second epoch on ten in a row.
    job = poisoned(make_job(shards, tmp_path / "unused"), tmp_path / "run", *range(9, 19))
    run_job(job, Worker())
    lines = lines_of(job)
    (back,) = [line for line in lines if "rate" in line]
    assert (back["went_back_to_epoch"], back["rate"]) == (3, 0.1)
    assert [line["epoch"] for line in lines if "lr" in line] == [1, 2, 3, 4]
    assert runs.read_result(job.folder)["skipped_steps"] == 10
    again = poisoned(make_job(shards, tmp_path / "unused"), tmp_path / "again", *range(9, 100))
    with pytest.raises(ValueError, match="diverged in epoch 4, and again at a lower rate: 10 steps in a row"):
        run_job(again, Worker())
    assert not runs.is_complete(again.folder)


def test_a_run_that_is_killed_inside_an_epoch_ends_with_the_same_weights(shards, make_job, tmp_path):
    whole, killed = (make_job(shards, tmp_path / name, epochs=2, save_every=2) for name in ("whole", "killed"))
    run_job(whole, Worker())
    training = Training(started(killed), Worker())
    step, steps = training.stepper.step, iter(range(9))

    def dies(*args, **kwargs):
        next(steps)  # StopIteration at the tenth step: in the middle of the second epoch
        return step(*args, **kwargs)

    training.stepper.step = dies
    with pytest.raises(StopIteration):
        training.run()
    training.states.wait()
    assert Training(started(killed), Worker()).position == Position(epoch=1, step=2)
    run_job(killed, Worker())
    one, other = (load_weights(job.folder / "checkpoints" / "final.safetensors") for job in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
