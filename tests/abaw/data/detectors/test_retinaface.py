"""RetinaFace's decoding on a network that says what the test wants: one anchor has a face where the picture is red."""

import hashlib
import sys

import numpy as np
import onnx
import pytest
import requests
from onnx import TensorProto, helper, numpy_helper

from abaw.data.detectors.detector import DetectorConfig, find_weights, open_detector
from abaw.problems import BadInput

ANCHORS = 2 * (80 * 80 + 40 * 40 + 20 * 20)
ROW, COLUMN = 12, 20
ANCHOR = 2 * 80 * 80 + 2 * (ROW * 40 + COLUMN)
"""The smaller anchor, 64 pixels wide, of the cell at ROW, COLUMN of the grid with steps of 16 pixels."""
CENTRE = np.array([(COLUMN + 0.5) * 16, (ROW + 0.5) * 16])


def write_network(path):
    """A network with RetinaFace's outputs: boxes, scores, points of every anchor, coded as offsets from the anchor."""
    boxes, scores, points = (np.zeros((1, ANCHORS, width), np.float32) for width in (4, 2, 10))
    boxes[0, ANCHOR] = (1.0, -0.5, 5 * np.log(2), 0)
    scores[0, ANCHOR] = (0.1, 0.9)
    points[0, ANCHOR] = np.arange(10)
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["colours"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["colours", "third"], ["red"], axis=1),
        helper.make_node("Sign", ["red"], ["sign"]),
        helper.make_node("Relu", ["sign"], ["is_red"]),
        helper.make_node("Mul", ["scores", "is_red"], ["scores_out"]),
        helper.make_node("Identity", ["boxes"], ["boxes_out"]),
        helper.make_node("Identity", ["points"], ["points_out"]),
    ]
    constants = {"boxes": boxes, "scores": scores, "points": points, "third": np.array(2, np.int64)}
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, constants[name].shape)
        for name in ("boxes", "scores", "points")
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, (1, 3, 640, 640))
    known = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", [picture], outputs, known)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(autouse=True)
def _no_download(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("something was downloaded")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setenv("UNIFACE_CACHE_DIR", str(tmp_path / "cache"))


def find(path=None, sha256=None):
    return find_weights(DetectorConfig(weights=path, weights_sha256=sha256))


def test_boxes_and_points_are_decoded_in_pixels_of_the_picture(tmp_path):
    path = write_network(tmp_path / "small.onnx")
    red_HWC = np.zeros((640, 1280, 3), np.uint8)
    red_HWC[:, :, 0] = 255
    with open_detector(find(path, hashlib.sha256(path.read_bytes()).hexdigest())) as detector:
        (face,) = detector.detect(red_HWC)
        assert detector.detect(np.ascontiguousarray(red_HWC[:, :, ::-1])) == [], (
            "blue is not red: channels are in order"
        )
    # A picture of twice the size: seen at half, so each pixel there is two here. Offsets are tenths of the anchor.
    middle = CENTRE + np.array([1.0, -0.5]) * 0.1 * 64
    half = np.array([64, 32])
    assert face.box == pytest.approx((*2 * (middle - half), *2 * (middle + half)), abs=0.01)
    assert face.centre == pytest.approx(tuple(2 * middle), abs=0.01)
    expected_52 = 2 * (CENTRE + np.arange(10).reshape(5, 2) * 0.1 * 64)
    np.testing.assert_allclose(face.points_52, expected_52, atol=0.01)
    assert face.score == pytest.approx(0.9)
    assert {part: len(points_N2) for part, points_N2 in face.key_points.items()} == {
        "right eye": 1,
        "left eye": 1,
        "nose": 1,
        "mouth": 2,
    }


def test_weights_that_are_not_there_are_not_fetched(tmp_path):
    with pytest.raises(
        BadInput, match=r"cache/retinaface_mnet_v2.onnx: no such file of weights for retinaface; get it"
    ):
        find()
    with pytest.raises(BadInput, match=r"from https://github.com/yakhyo/uniface/\S+ and give --weights PATH"):
        find(tmp_path / "none.onnx")


def test_other_weights_are_refused_with_both_hashes_and_kept(tmp_path):
    (tmp_path / "cache").mkdir()
    path = write_network(tmp_path / "cache" / "retinaface_mnet_v2.onnx")
    content = path.read_bytes()
    with pytest.raises(BadInput) as refused:
        find()
    assert f"sha256 is {hashlib.sha256(content).hexdigest()}; expected " in str(refused.value)
    assert "(retinaface_mnet_v2)" in str(refused.value)
    assert path.read_bytes() == content


def test_without_uniface_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uniface.constants", None)
    with pytest.raises(BadInput, match=r"pip install 'abaw-platform\[detect\]'"):
        find(tmp_path / "small.onnx")
