"""The wheel holds three import packages with their data, runs without the checkout, and is the same each time."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_the_three_packages_and_their_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"abaw", "experiments", "leaderboard"}
    assert {"abaw/py.typed", "abaw/faces/face_cc0.npz", "abaw/faces/NOTICE.md", "abaw/tracks.py"} <= set(names)
    assert {f"leaderboard/page/report.{kind}" for kind in ("html.j2", "css", "js")} <= set(names)
    metadata = next(name for name in names if name.endswith("entry_points.txt"))
    entry_points = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "abaw = experiments.cli:main" in entry_points
    assert "leaderboard = leaderboard.cli:main" in entry_points


@pytest.mark.parametrize("module", ["experiments", "leaderboard"])
def test_the_commands_run_from_the_wheel_alone(wheel, tmp_path, module):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = f"import abaw.tracks, {module}.cli as cli; print(abaw.tracks.__file__); cli.main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "examples:" in done.stdout


@pytest.mark.parametrize("module", ["experiments", "leaderboard"])
def test_a_wheel_tells_the_commit_that_it_was_built_from(wheel, tmp_path, module):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    built = (tmp_path / "abaw" / "commit.txt").read_text().strip()
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert built.removesuffix("+") == head.stdout.strip()
    code = (
        f"import sys, {module}.cli as cli\n"
        "try: cli.main(['--version'])\n"
        "except SystemExit as end: print(end.code, {'torch', 'ray'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    name = {"experiments": "abaw", "leaderboard": "leaderboard"}[module]
    told = f"commit {built}" if built else "commit unknown: installed without git"
    assert done.stdout.splitlines() == [f"{name} {version}, {told}", "0 set()"]


def test_the_changelog_and_the_citation_are_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert f"\n## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_wheel_and_sdist_are_the_same_bytes_wherever_and_whenever_they_are_built(tmp_path):
    """From two copies with other times and rights of their files, once directly and once by way of the sdist."""
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for source, copy, mode in ((ROOT, tmp_path / "one", 0o644), (tmp_path / "one", tmp_path / "two", 0o664)):
        for name in names:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, copy / name)
            (copy / name).chmod(mode)
    built = []
    for copy, options in (("one", ["--sdist", "--wheel"]), ("two", [])):
        command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(tmp_path / f"{copy}-out")]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run([*command, str(tmp_path / copy)], check=True, capture_output=True, env=environment)
        files = sorted((tmp_path / f"{copy}-out").iterdir())
        built.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert {Path(name).suffix for name in built[0]} == {".whl", ".gz"}
    assert built[0] == built[1]
    (sdist,) = (tmp_path / "one-out").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "commit.txt", "tests/conftest.py", "CHANGELOG.md", "Makefile"} <= inside
