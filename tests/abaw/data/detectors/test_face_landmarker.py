"""The real detector on real pixels."""

import shutil
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from abaw.data.detectors.detector import DetectorConfig, find_weights, open_detector
from abaw.faces.filming import shoot
from abaw.faces.plan import plan_videos
from abaw.problems import BadInput


def mediapipe(path, sha256=None):
    return find_weights(DetectorConfig(backend="mediapipe", weights=path, weights_sha256=sha256))


@pytest.fixture(scope="module")
def detector(face_task):
    with open_detector(mediapipe(face_task)) as detector:
        yield detector


def test_the_points_of_a_photograph_lie_where_the_face_is(detector, astronaut_HWC):
    (face,) = detector.detect(astronaut_HWC)
    right_eye, left_eye, nose, right_mouth, left_mouth = face.points_52
    assert right_eye == pytest.approx((124, 101), abs=4)
    assert left_eye == pytest.approx((166, 103), abs=4)
    assert right_eye[1] < nose[1] < right_mouth[1]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    means = {part: points_N2.mean(axis=0) for part, points_N2 in face.key_points.items()}
    assert set(means) == {"right eye", "left eye", "right brow", "left brow", "nose", "mouth"}
    assert means["right brow"][1] < means["right eye"][1] < means["nose"][1] < means["mouth"][1]
    assert means["left brow"][0] > means["nose"][0] > means["right brow"][0]
    left, top, right, bottom = face.box
    for points_N2 in face.key_points.values():
        assert (points_N2 >= (left, top)).all()
        assert (points_N2 <= (right, bottom)).all()


def test_every_face_of_a_picture_is_found_and_none_where_none_is(detector, astronaut_HWC):
    two_HWC = np.concatenate([astronaut_HWC, astronaut_HWC[:, ::-1]], axis=1)
    faces = sorted(detector.detect(two_HWC), key=lambda face: face.centre[0])
    assert len(faces) == 2
    assert faces[1].points_52[0] == pytest.approx((600 - 166, 103), abs=5), "the mirrored face's own right eye"
    assert detector.detect(np.zeros((120, 160, 3), np.uint8)) == []


@pytest.mark.slow
def test_faces_of_the_embedded_data_set_are_found(detector):
    clips = plan_videos(videos=5, test_videos=1, frames=8, seed=3)
    found = 0
    for clip in clips:
        ((_, jpeg),) = shoot(clip, 3, 112, [1])
        face_HWC = np.zeros((224, 224, 3), np.uint8)
        face_HWC[56:168, 56:168] = np.asarray(Image.open(BytesIO(jpeg)))
        found += bool(detector.detect(face_HWC))
    assert found >= 4


def test_weights_must_be_given(tmp_path):
    with pytest.raises(BadInput, match=r"^--weights: mediapipe needs its face_landmarker.task; get it from https://"):
        mediapipe(None)
    with pytest.raises(BadInput, match=r"none.task: no such file of weights for mediapipe; get it from https://"):
        mediapipe(tmp_path / "none.task")


def test_other_weights_are_refused_unless_their_sha256_is_given(face_task, tmp_path):
    published = mediapipe(face_task)
    assert published.name == "face_landmarker float16/1"
    other = tmp_path / "other.task"
    shutil.copy(face_task, other)
    assert mediapipe(other) == mediapipe(other, published.sha256.upper())
    other.write_bytes(other.read_bytes() + b"\0")
    with pytest.raises(BadInput, match=rf"sha256 is ([0-9a-f]{{64}}); expected {published.sha256}") as refused:
        mediapipe(other)
    assert "--weights-sha256 if you trust this file" in str(refused.value)
    found = str(refused.value).partition("sha256 is ")[2][:64]
    assert mediapipe(other, found).name == "other.task"
    with pytest.raises(BadInput, match=rf"expected {published.sha256}, as --weights-sha256 says"):
        mediapipe(other, published.sha256)


def test_without_mediapipe_the_message_says_how_to_get_it(face_task, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(BadInput, match=r"pip install 'abaw-platform\[detect\]'"):
        mediapipe(face_task)
