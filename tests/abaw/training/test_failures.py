"""What failed is recorded with its reasons, told once, and forgotten by a new run."""

import json
import threading

from abaw.problems import BadInput, Problem
from abaw.training import failures
from abaw.training.failures import all_failed, forget, is_over, record


def test_each_reason_is_told_once_with_the_name_of_the_training(make_job, tmp_path):
    job = make_job(tmp_path, tmp_path / "fold-0")
    wrong = BadInput(
        [Problem(path="a.jpg", message="is not a JPEG"), Problem(path="b.txt", line=3, message="is empty")]
    )
    for rank in range(2):
        record(job, wrong, rank=rank)
    told = failures.failures([job, make_job(tmp_path, tmp_path / "fold-1")])
    assert [str(problem) for problem in told] == [
        f"{job.folder}: finetune/fold-0 failed: a.jpg: is not a JPEG",
        f"{job.folder}: finetune/fold-0 failed: b.txt:3: is empty",
    ]
    assert "BadInput" in json.loads((job.folder / "rank-0.failed.json").read_text())["traceback"]
    assert is_over(job)
    forget(job)
    assert not is_over(job)
    assert failures.failures([job]) == []


def test_an_error_that_is_no_mistake_is_told_by_its_name_and_first_line(make_job, tmp_path):
    job = make_job(tmp_path, tmp_path / "fold-0")
    record(job, RuntimeError("CUDA out of memory\nTried to allocate 2 GiB"))
    assert failures.failures([job])[0].message == "finetune/fold-0 failed: RuntimeError: CUDA out of memory"


def test_a_failure_of_one_worker_alone_is_known(make_job, tmp_path, monkeypatch):
    job = make_job(tmp_path, tmp_path / "fold-0")
    record(job, ValueError("diverged"), rank=0)
    monkeypatch.setattr(failures, "TOGETHER_S", 0.2)
    assert not all_failed(job, world=2)
    monkeypatch.setattr(failures, "TOGETHER_S", 30.0)
    other = threading.Timer(0.2, record, args=(job, ValueError("diverged")), kwargs={"rank": 1})
    other.start()
    assert all_failed(job, world=2)
