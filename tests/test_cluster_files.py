"""What starts a cluster is well formed: Ray's own check of cluster.yaml, the manifest's fields, the script's syntax."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture
def cluster():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_the_launcher_file_passes_rays_own_check(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_the_head_trains_nothing_and_workers_are_gpus_on_spot(cluster):
    head, workers = (cluster["available_node_types"][name] for name in ("head", "gpu_spot"))
    assert "GPU" not in head["resources"]
    assert workers["resources"]["GPU"] == 4
    assert workers["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert workers["min_workers"] == 0


def test_data_runs_and_environments_stay_at_home(cluster):
    assert {".venv/**", "data/**", "runs/**"} <= set(cluster["rsync_exclude"])


def test_nodes_start_with_a_token(cluster):
    for command in (*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]):
        if "ray start" in command:
            assert "RAY_AUTH_MODE=token" in command


def test_the_kubernetes_job_runs_a_recipe_on_the_ray_that_the_head_has():
    job = yaml.safe_load((ROOT / "docs" / "cluster" / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    assert spec["authOptions"] == {"mode": "token"}
    image = re.search(r"rayproject/ray:([0-9.]+)-", (ROOT / "docs" / "cluster" / "rayjob.yaml").read_text())
    assert image is not None
    assert image[1] == spec["rayVersion"]
    assert job["spec"]["entrypoint"].startswith("python -m experiments run mae_face_mtl --runs /shared/")


def test_the_slurm_script_is_valid_shell_and_asks_for_the_runs_folder():
    script = ROOT / "docs" / "cluster" / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=True).stderr == ""
    assert "ABAW_RUNS:?" in script.read_text()
