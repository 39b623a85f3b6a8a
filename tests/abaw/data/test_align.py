import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw.data.align import LEFT_EYE, RIGHT_EYE, choose_face, cut_crop, eye_similarity
from abaw.data.detectors.face import Face

SIZE = 112


def face(right_eye=(40, 50), left_eye=(70, 50), box=(0, 0, 10, 10)):
    points_52 = np.array([right_eye, left_eye, (0, 0), (0, 0), (0, 0)], np.float32)
    return Face(box=box, points_52=points_52, score=1.0, key_points={})


places = st.tuples(st.integers(-500, 500), st.integers(-500, 500))


@given(places, places)
def test_eyes_land_on_their_places_and_shapes_are_kept(right_eye, left_eye):
    transform = eye_similarity(face(right_eye, left_eye), SIZE)
    if right_eye == left_eye:
        assert transform is None
        return
    eyes_22 = transform.to_crop(np.array([right_eye, left_eye], np.float32))
    np.testing.assert_allclose(eyes_22, np.array([RIGHT_EYE, LEFT_EYE]) * SIZE, atol=0.02)
    # The point below the middle of the eyes by their distance, on the mouth's side, stays so.
    right, left = np.array(right_eye, float), np.array(left_eye, float)
    below = (right + left) / 2 + [right[1] - left[1], left[0] - right[0]]
    expected = (0.5 * SIZE, (0.46 + 0.32) * SIZE)
    np.testing.assert_allclose(transform.to_crop(below[None].astype(np.float32))[0], expected, atol=0.05)


@pytest.mark.parametrize("zoom", [0.5, 1, 3.7])
@pytest.mark.parametrize("degrees", [0, 30, 180])
def test_pixels_go_where_the_transform_says(zoom, degrees):
    """Two discs, red and green, drawn as the eyes of a face of any size and turn."""
    distance = 0.32 * SIZE * zoom
    turn = np.exp(1j * np.radians(degrees))
    eyes = [320 + 240j - turn * distance / 2, 320 + 240j + turn * distance / 2]
    y_HW, x_HW = np.mgrid[:480, :640] + 0.5
    picture_HWC = np.zeros((480, 640, 3), np.uint8)
    for channel, eye in enumerate(eyes):
        picture_HWC[np.hypot(x_HW - eye.real, y_HW - eye.imag) < 8 * zoom, channel] = 255
    points = [(eye.real, eye.imag) for eye in eyes]
    crop_SSC = cut_crop(picture_HWC, eye_similarity(face(*points), SIZE), SIZE)
    assert crop_SSC.shape == (SIZE, SIZE, 3)
    for channel, (x, y) in enumerate((RIGHT_EYE, LEFT_EYE)):
        rows, columns = np.nonzero(crop_SSC[:, :, channel] > 127)
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x * SIZE, y * SIZE), abs=0.5)
        assert np.sqrt(len(rows) / np.pi) == pytest.approx(8, abs=0.7)


def test_a_small_crop_of_a_large_face_is_averaged_and_what_is_outside_is_black():
    stripes_HWC = np.zeros((1120, 1120, 3), np.uint8)
    stripes_HWC[:, ::2] = 200
    big = face((380, 515), (739, 515))  # ten pixels of the picture a pixel of the crop
    crop_SSC = cut_crop(stripes_HWC, eye_similarity(big, SIZE), SIZE)
    assert 95 <= crop_SSC[20:90, 20:90].min() <= crop_SSC[20:90, 20:90].max() <= 105
    corner = face((10, 10), (40, 10))
    assert not cut_crop(stripes_HWC, eye_similarity(corner, SIZE), SIZE)[:20].any()


def test_the_rules_choose():
    left, middle, right = face(box=(0, 0, 10, 10)), face(box=(50, 0, 80, 30)), face(box=(200, 5, 210, 20))
    faces = [middle, right, left]
    assert choose_face(faces, "left", None) is left
    assert choose_face(faces, "right", None) is right
    assert choose_face(faces, "largest", right) is middle
    assert choose_face(faces, "nearest", None) is middle, "nobody was chosen yet: the largest"
    assert choose_face(faces, "nearest", face(box=(190, 0, 200, 10))) is right
    assert choose_face(faces, "none", left) is None
    assert choose_face([], "left", left) is None
    with pytest.raises(ValueError, match="unknown rule 'biggest'; expected largest, left, right, nearest, none"):
        choose_face(faces, "biggest", None)
