"""The files of TensorBoard and MLflow hold what `metrics.jsonl` tells; a training that goes on keeps its MLflow run."""

import pytest

from abaw.training.resources import Resources
from abaw.training.sinks import Mlflow, TensorBoard, open_sinks

LINES = (
    {"job": "finetune/fold-0", "epoch": 1, "epochs": 2, "starting": {"device": "cpu"}},
    {"job": "finetune/fold-0", "epoch": 1, "epochs": 2, "step": 6, "loss/va": 0.9, "loss": 0.9, "images_per_s": 100.0},
    {"job": "finetune/fold-0", "epoch": 1, "epochs": 2, "step": 6, "P_MTL": 0.4},
    {"job": "finetune/fold-0", "epoch": 2, "epochs": 2, "step": 12, "loss/va": 0.5, "loss": 0.5, "images_per_s": 90.0},
)


def test_nothing_is_opened_unless_it_is_asked_for():
    assert open_sinks(Resources()) == []
    assert [type(sink) for sink in open_sinks(Resources(tensorboard=True))] == [TensorBoard]


def test_tensorboard_reads_what_was_told(make_job, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job, sink = make_job(tmp_path, tmp_path / "run"), TensorBoard()
    for line in LINES:
        sink.write(job, line)
    sink.close(job)
    events = EventAccumulator(str(job.folder / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss/va", "loss", "images_per_s", "P_MTL"}
    assert [(event.step, round(event.value, 6)) for event in events.Scalars("loss/va")] == [(6, 0.9), (12, 0.5)]


@pytest.mark.slow
def test_mlflow_reads_what_was_told_in_one_run(make_job, tmp_path):
    from mlflow import MlflowClient

    uri, job = f"sqlite:///{tmp_path}/mlflow.db", make_job(tmp_path, tmp_path / "demo" / "finetune-fold-0")
    for lines in (LINES[:3], LINES[3:]):  # two drivers, one after another
        sink = Mlflow(uri)
        for line in lines:
            sink.write(job, line)
        sink.close(job)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("demo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("finetune/fold-0", "FAILED")  # there is no result.json
    assert run.data.params["lr"] == "0.001"
    history = client.get_metric_history(run.info.run_id, "loss/va")
    assert [(metric.step, metric.value) for metric in history] == [(6, 0.9), (12, 0.5)]
