"""`abaw run RECIPE --address http://HEAD:8265`: the recipe as a job of a cluster, whose driver runs on its head.

The job outlives this terminal. Its nodes get what this process runs: from a checkout the working directory, without
data, runs, environments and what `.gitignore` names, and `platform/abaw`; from an installed wheel the three packages.
"""

import asyncio
import getpass
import logging
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus, JobSubmissionClient

import abaw
import experiments
import leaderboard
from abaw.masking import without_passwords
from abaw.problems import refuse
from abaw.runs import provenance

TALKERS = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env")
"""Loggers of Ray that tell of every file that is not sent."""
RETRY_S = 5.0
"""Seconds after which a broken connection is made again."""


def run_as_job(address: str, recipe: str, overrides: Sequence[str], *, runs: Path, as_json: bool = False) -> int:
    """Submit, follow the log to its end; returns the exit code: 0 done, 1 failed or stopped, 0 left running."""
    if not runs.is_absolute():
        what = "a job runs on the cluster; give a folder that all its nodes see, such as --runs /shared/runs"
        raise refuse(f"--runs {runs}", what)
    if (shown := without_passwords(shlex.join(overrides))) != shlex.join(overrides):
        what = "the dashboard shows the command of a job to all; leave passwords to the environment of the cluster"
        raise refuse(shown, what)
    client = connect(address)
    command = ["python", "-m", "experiments", "run", recipe, *overrides, "--runs", str(runs)]
    name = f"{recipe}-{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"
    client.submit_job(
        entrypoint=shlex.join(command + (["--json"] if as_json else [])),
        submission_id=name,
        runtime_env=runtime_env(),
        metadata={"recipe": recipe, "user": getpass.getuser(), "runs": str(runs)},
    )
    say(f"job {name} at {address}")
    try:
        follow(client, name)
    except KeyboardInterrupt:
        return left(client, name, address)
    info = client.get_job_info(name)
    say(f"job {name} {info.status.value.lower()}" + ("" if info.status == JobStatus.SUCCEEDED else f": {info.message}"))
    return 0 if info.status == JobStatus.SUCCEEDED else 1


def connect(address: str) -> JobSubmissionClient:
    """The job server of a cluster; BadInput where nothing answers, or not to us."""
    for name in TALKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return JobSubmissionClient(address.rstrip("/"))
    except ConnectionError:
        what = "no Ray dashboard answers; expected such as http://HEAD:8265, to which `ray dashboard` opens the way"
        raise refuse(f"--address {address}", what) from None
    except (RuntimeError, ValueError) as error:
        token = " Set RAY_AUTH_MODE=token where the cluster asks for a token." if "token" in str(error).lower() else ""
        raise refuse(f"--address {address}", f"is no job server of Ray: {error}.{token}") from None


def runtime_env() -> dict[str, Any]:
    """What the nodes of a job need: this code, and which commit it is."""
    packages = [Path(next(iter(one.__path__))).absolute() for one in (abaw, experiments, leaderboard)]
    root, found = packages[1].parent, provenance()
    commit = {"ABAW_COMMIT": found["commit"], "ABAW_DIRTY": str(int(found["dirty"]))} if found["commit"] else {}
    if (root / "pyproject.toml").is_file() and packages[0] == root / "platform" / "abaw":
        # What .gitignore names stays at home: `excludes` would hold for the module too, and take its `data` from it.
        code = {"working_dir": str(root), "py_modules": packages[:1]}
    else:
        code = {"py_modules": packages}
    return {**code, "py_modules": [str(path) for path in code["py_modules"]], "env_vars": commit}


def follow(client: JobSubmissionClient, name: str) -> None:
    """Print the log as it grows, until the job has ended; connects again where the connection breaks."""

    async def tail(seen: int) -> int:
        position = 0
        async for text in client.tail_job_logs(name):
            print(text[max(0, seen - position) :], end="", flush=True)
            position += len(text)
        return max(seen, position)

    seen = 0
    while True:
        try:
            seen = asyncio.run(tail(seen))
        except (RuntimeError, OSError) as error:
            say(f"the connection to the job broke ({error}); connecting again")
            time.sleep(RETRY_S)
        try:
            if client.get_job_status(name).is_terminal():
                return
        except (OSError, RuntimeError) as error:  # nothing answers, or a head that does not know the job
            what = f"its cluster tells nothing of it any more ({error}); `ray job logs` shows its log when it does"
            raise refuse(f"job {name}", what) from None


def left(client: JobSubmissionClient, name: str, address: str) -> int:
    """After Ctrl-C: ask whether to stop the job; where nobody can answer, leave it running and say how to stop it."""
    if sys.stdin.isatty() and _yes("\nStop the job too? [y/N] "):
        client.stop_job(name)
        say(f"job {name} is told to stop; given again, the same command goes on where it was")
        return 1
    say(f"job {name} goes on; its log:  ray job logs --follow --address {address} {name}")
    say(f"to stop it:  ray job stop --address {address} {name}")
    return 0


def _yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False


def say(text: str) -> None:
    """For a person: on stderr."""
    print(f"abaw: {text}", file=sys.stderr, flush=True)
