"""benchmarks/account.py and what the demo's run folder tells: the parts of a time add up to it."""

import json
import os
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the scripts, which import one another by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    yield
    for name in ("account", "demo", "targets"):
        sys.modules.pop(name, None)


def test_the_shares_of_a_time_add_up_and_name_what_took_it(benchmarks):
    import account

    def slow():
        time.sleep(0.2)

    def quick():
        time.sleep(0.02)

    def work():
        slow()
        quick()
        time.sleep(0.1)

    found = account.account("work", account.profiled(work, {"slow": [slow], "quick": [quick]}), limit="x", limit_s=0.16)
    assert list(found["shares"]) == ["slow", "all else", "quick"]
    assert sum(found["shares"].values()) == pytest.approx(1, abs=0.002)
    assert found["shares"]["slow"] > 0.4
    assert 0.2 < found["reached"] <= 0.5
    assert account.section([found])[-1].startswith("| work | slow ")


def test_what_is_no_python_function_cannot_be_a_part(benchmarks):
    import account

    with pytest.raises(AssertionError, match="no function written in Python"):
        account.profiled(list, {"sorting": [sorted]})


def test_a_command_that_fails_is_no_measurement(benchmarks):
    import account

    with pytest.raises(AssertionError, match="exit code 1: show"):
        account.quietly(lambda words: 1, ["show"])


def test_the_time_of_a_demo_is_that_of_its_stages_and_of_what_lies_between(benchmarks, tmp_path):
    import demo

    for name, finished, wall_s in (("prepare-1", 20, 15), ("finetune-a", 60, 30), ("finetune-b", 65, 30)):
        path = tmp_path / name / "result.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"wall_s": wall_s}))
        os.utime(path, (finished, finished))
    spent = demo.stage_seconds(tmp_path, 0.0, 70.0)
    assert spent == {
        "before prepare": 5, "prepare": 15, "before finetune": 10, "finetune": 35, "end": 5,
    }  # fmt: skip
