"""What a person sees while trainings run: how they start, where they stand, what each epoch gave."""

import io
import json
import time

from rich.console import Console

from abaw.runs import write_json
from abaw.training.job import Frames, TrainingJob
from abaw.training.optimisation import Optimisation
from experiments import progress as module
from experiments.progress import Progress, epoch_line, standing_line, watch

STANDING = {
    "job": "finetune/fold-0", "epoch": 2, "epochs": 4, "step": 30, "steps": 120, "images_per_s": 1234.5,
    "data_wait": 0.031, "eta_s": 4000.4, "losses": {"va": 0.9, "au": 0.3},
}  # fmt: skip
EPOCH = {
    "job": "finetune/fold-0", "epoch": 1, "epochs": 4, "loss": 3.0, "loss/va": 1.0, "loss/au": 2.0, "step": 120,
    "images_per_s": 1234.5, "data_wait": 0.031, "lr": 0.1,
}  # fmt: skip


def test_the_start_says_what_computes_and_with_which_batch():
    starting = {
        "device": "cpu", "backend": "gloo", "workers": 2, "threads": 1, "precision": "fp32", "compile": False,
        "micro_batch": 64, "accumulate": 4, "batch_size": 512, "lr": 2e-4,
    }  # fmt: skip
    told = epoch_line({"job": "pretrain", "epoch": 1, "epochs": 4, "starting": starting})
    assert told == (
        "pretrain: cpu, 1 thread(s) each, fp32  batch 512 = 2 worker(s) x 64 x 4 accumulated  learning rate 0.0002"
    )


def test_where_a_training_stands_is_one_line():
    assert standing_line(STANDING) == (
        "epoch 2/4  step 30/120  va 0.900  au 0.300  1,234 images/s  3% waiting for data  1:06:40 left"
    )


class Lines:
    """A sink that keeps what it gets, or fails."""

    def __init__(self, fails=False):
        self.got, self.closed, self.fails = [], [], fails

    def write(self, job, values):
        if self.fails:
            raise OSError("database is locked")
        self.got.append(values)

    def close(self, job):
        self.closed.append(job.name)


def watched(tmp_path, *, terminal, sinks=()):
    """What is printed while a training tells two things."""
    job = TrainingJob(
        name="finetune/fold-0", folder=tmp_path, system=None, optimisation=Optimisation(), seed=0,
        train=Frames(shards=tmp_path),
    )  # fmt: skip
    progress, printed = Progress(), io.StringIO()
    progress.console = Console(file=printed, force_terminal=terminal, highlight=False, width=200)
    with watch([job], progress, sinks):
        time.sleep(0.4)
        write_json(tmp_path / "progress.json", STANDING)
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(EPOCH) + "\n" + '{"job": "half a li')
        time.sleep(1.0)
    return printed.getvalue()


def test_a_terminal_has_a_bar_and_the_lines_above_it(tmp_path):
    printed = watched(tmp_path, terminal=True)
    assert "step 30/120" in printed
    assert "epoch 1/4  va 1.000  au 2.000" in printed


def test_a_log_has_a_line_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    printed = watched(tmp_path, terminal=False)
    assert "finetune/fold-0: epoch 2/4  step 30/120" in printed
    assert "\x1b[" not in printed


def test_sinks_get_the_lines_and_one_that_fails_costs_no_run(tmp_path):
    good, bad = Lines(), Lines(fails=True)
    printed = watched(tmp_path, terminal=False, sinks=(bad, good))
    assert good.got == [EPOCH]
    assert good.closed == ["finetune/fold-0"]
    assert "Lines gets no more of this run: database is locked" in printed
