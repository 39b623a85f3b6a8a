from itertools import product

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from abaw.data.align import eye_similarity
from abaw.data.clean import Reason, difference_hash, duplicate_drops, lacking_parts, near_duplicates
from abaw.data.detectors.face import Face


def bits_between(one, other):
    return (difference_hash(one) ^ difference_hash(other)).bit_count()


def test_a_hash_hardly_changes_when_a_picture_is_stored_again_and_does_for_another(astronaut_HWC):
    poor = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(astronaut_HWC), quality=30))
    smaller = np.asarray(Image.fromarray(astronaut_HWC).resize((140, 140)))
    assert bits_between(astronaut_HWC, poor) <= 3
    assert bits_between(astronaut_HWC, smaller) <= 3
    assert bits_between(astronaut_HWC, astronaut_HWC[:, ::-1]) > 20
    assert 0 <= difference_hash(astronaut_HWC) < 2**64


hashes = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8)


@given(hashes, st.lists(st.tuples(st.integers(0, 7), st.lists(st.integers(0, 63), max_size=8))), st.integers(0, 16))
def test_near_duplicates_are_those_that_a_comparison_of_all_pairs_finds(centres, changes, distance):
    values = centres + [_flip(centres[place % len(centres)], bits) for place, bits in changes]
    named = {f"{place}.jpg": value for place, value in enumerate(values)}
    found = near_duplicates(named, distance=distance)
    kept = []
    for path, value in named.items():
        near = [twin for twin in kept if (named[twin] ^ value).bit_count() <= distance]
        assert (path in found) == bool(near)
        assert found.get(path) in [None, *near]
        kept += [] if near else [path]


def _flip(value, bits):
    for bit in bits:
        value ^= 1 << bit
    return value


def test_duplicates_name_the_first_picture_and_exact_ones_are_told_apart():
    rows = [("a", "same", 0), ("b", "same", 0), ("c", "other", 0b111), ("d", "far", 2**40 - 1)]
    assert duplicate_drops(rows, distance=3) == [("b", "exact duplicate: of a"), ("c", "near duplicate: of a")]
    assert duplicate_drops(rows, distance=2) == [("b", "exact duplicate: of a")]


def test_each_reason_is_spelled_once():
    assert len({str(reason) for reason in Reason}) == len(Reason)
    assert not [pair for pair in product(Reason, Reason) if pair[0] != pair[1] and pair[1].startswith(f"{pair[0]}:")]


@pytest.mark.parametrize(("bottom", "lacking"), [(112, []), (95, []), (88, ["mouth"]), (60, ["nose", "mouth"])])
def test_three_quarters_of_each_part_must_lie_in_the_picture(bottom, lacking):
    """A face whose crop is the picture, which ends at `bottom`: of the mouth's points at 80, 85, 90, 95."""
    mouth_42 = np.array([(50, 80), (54, 85), (58, 90), (62, 94)], np.float32)
    parts = {
        "right eye": (38, 51),
        "left eye": (74, 51),
        "right brow": (38, 44),
        "left brow": (74, 44),
        "nose": (56, 70),
    }
    key_points = {part: np.array([point], np.float32) for part, point in parts.items()} | {"mouth": mouth_42}
    five_52 = np.array([(38.08, 51.52), (73.92, 51.52), (56, 70), (45, 92), (67, 92)], np.float32)
    face = Face(box=(20, 20, 90, 110), points_52=five_52, score=1.0, key_points=key_points)
    assert lacking_parts(face, eye_similarity(face, 112), crop=112, picture=(bottom, 112)) == lacking
