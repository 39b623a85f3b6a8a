import numpy as np
import pytest

from abaw.faces.action_units import UNITS, vector
from abaw.faces.camera import develop, make_camera
from abaw.faces.film import EYES_AT, Moment, Renderer
from abaw.faces.people import make_person
from abaw.faces.plan import seed_of

SIZE = 112


def at_rest(**changes: object) -> Moment:
    zero_U = np.zeros(len(UNITS), np.float32)
    return Moment(**({"left_U": zero_U, "right_U": zero_U} | changes))


def doing(**intensities: float) -> Moment:
    both_U = vector(**intensities).astype(np.float32)
    return Moment(left_U=both_U, right_U=both_U)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    camera = make_camera(seed_of(1, "camera"), SIZE)
    background_HW3 = np.zeros((SIZE, SIZE, 3), np.float32)
    return Renderer(make_person(seed_of(1, "somebody")), camera.light, background_HW3, SIZE)


def test_a_face_fills_the_frame(renderer):
    crop_HW3 = renderer.draw(at_rest())
    assert crop_HW3.shape == (SIZE, SIZE, 3)
    assert np.isfinite(crop_HW3).all()
    middle_HW = crop_HW3[28:84, 28:84].mean(axis=2)
    assert middle_HW.min() >= 0
    assert (middle_HW > 0.05).mean() > 0.9, "the middle of the frame shows the background"
    assert crop_HW3.std() > 0.05


# Rows of the crop, as shares from the top: eyes lie at EYES_AT.
@pytest.mark.parametrize(
    ("unit", "top", "bottom"),
    [
        ("AU1", 0.10, 0.45), ("AU2", 0.10, 0.45), ("AU4", 0.15, 0.48), ("AU6", 0.35, 0.75), ("AU7", 0.38, 0.72),
        ("AU10", 0.27, 0.82), ("AU12", 0.50, 0.95), ("AU15", 0.60, 0.98), ("AU23", 0.55, 0.97), ("AU24", 0.53, 0.97),
        ("AU25", 0.60, 0.98), ("AU26", 0.60, 1.00), ("AU9", 0.25, 0.75), ("AU43", 0.30, 0.55),
    ],
)  # fmt: skip
def test_an_action_unit_changes_its_part_of_the_face(renderer, unit, top, bottom):
    change_HW = np.abs(renderer.draw(doing(**{unit: 1.0})) - renderer.draw(at_rest())).sum(axis=2)
    inside = change_HW[int(top * SIZE) : int(bottom * SIZE)].sum()
    assert change_HW.max() > 0.1, f"{unit} shows nowhere"
    assert inside > 0.85 * change_HW.sum(), f"{unit} shows mostly elsewhere"


def test_one_half_of_the_face_can_act_alone(renderer):
    smile_U, still_U = vector(AU12=1.0).astype(np.float32), np.zeros(len(UNITS), np.float32)
    change_HW = np.abs(renderer.draw(Moment(left_U=smile_U, right_U=still_U)) - renderer.draw(at_rest())).sum(axis=2)
    # The person's left is the right of the picture.
    assert change_HW[:, SIZE // 2 :].sum() > 3 * change_HW[:, : SIZE // 2].sum()


def test_the_crop_is_aligned_to_the_eyes(renderer):
    row = int(EYES_AT * SIZE)
    for turn in ((0.4, 0.0, 0.0), (-0.4, 0.1, 0.1)):
        moved_HW3 = renderer.draw(at_rest(turn=turn))
        assert (moved_HW3[row - 3 : row + 3, SIZE // 3 : 2 * SIZE // 3].mean(axis=2) > 0.01).mean() > 0.8
    shifted_HW3 = renderer.draw(at_rest(shift=(0.125, 0.0)))
    np.testing.assert_allclose(shifted_HW3[:, 14:], renderer.draw(at_rest())[:, :-14], atol=0.02)


def test_gaze_moves_pixels_at_the_eyes_alone(renderer):
    change_HW = np.abs(renderer.draw(at_rest(gaze=(1.0, 0.0))) - renderer.draw(at_rest())).sum(axis=2)
    rows = slice(int((EYES_AT - 0.08) * SIZE), int((EYES_AT + 0.08) * SIZE))
    assert change_HW[rows].sum() > 0.95 * change_HW.sum() > 0


def test_people_and_cameras_differ_and_their_seed_decides():
    one, again, other = (make_person(seed_of(0, name)) for name in ("a", "a", "b"))
    for name in ("point_V3", "colour_V3", "paint_HW3", "iris_3", "hair_3"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert np.abs(one.point_V3 - other.point_V3).max() > 0.02
    assert make_camera(seed_of(0, "a"), SIZE).quality in range(60, 96)


def test_a_developed_frame_is_a_jpeg_with_the_camera_s_noise(renderer):
    camera = make_camera(seed_of(1, "camera"), SIZE)
    crop_HW3 = renderer.draw(at_rest())
    frames = [develop(camera, crop_HW3.copy(), 0.5, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert frames[0][:2] == b"\xff\xd8"
    assert frames[0] == frames[1] != frames[2]
