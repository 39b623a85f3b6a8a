"""Triangles to pixels on one core: facial units, normals, projection, depth buffer, blur and sensor, in numba.

Everything is sequential and without fast-math, so that a frame has the same bytes in every process. Images are float32
with channels last, 0 to 1; the screen has x to the right and y down.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
F = TypeVar("F", bound=Callable[..., object])

FAR = np.float32(-1e9)


def compiled(function: F) -> F:
    """Compile at the first call and keep the result on disk: worker processes load it in milliseconds."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile into the callers: passing arrays to a function costs more than its few operations."""
    return cast(F, numba.njit(inline="always", error_model="numpy")(function))


@inlined
def ceil(value: np.float32) -> int:
    """The next whole number; `math.ceil` is a call into the C library, this one instruction."""
    return int(np.ceil(value))


@compiled
def displace(base_VD: Floats, weight_K: Floats, start_K: Ints, vertex_M: Ints, move_MD: Floats, out_VD: Floats) -> None:
    """`out = base + sum of weight * target`, targets as `sparse_targets` packs them, summed in a fixed order."""
    out_VD.reshape(-1)[:] = base_VD.reshape(-1)  # one long copy: row by row is ten times slower
    for k in range(len(weight_K)):
        if weight_K[k] != 0:
            for m in range(start_K[k], start_K[k + 1]):
                v = vertex_M[m]
                for d in range(move_MD.shape[1]):
                    out_VD[v, d] += weight_K[k] * move_MD[m, d]


def sparse_targets(target_KVD: Floats) -> tuple[Ints, Ints, Floats]:
    """Pack displacements: target k moves `vertex[start[k]:start[k + 1]]` by the same rows of `move`."""
    moved = [np.flatnonzero(np.abs(target_VD).max(axis=1) > 1e-4) for target_VD in target_KVD]
    start_K = np.concatenate([[0], np.cumsum([len(vertex) for vertex in moved])])
    move_MD = np.concatenate([target_VD[vertex] for target_VD, vertex in zip(target_KVD, moved, strict=True)])
    return start_K.astype(np.int32), np.concatenate(moved).astype(np.int32), move_MD.astype(np.float32)


@compiled
def surface(point_V3: Floats, triangle_T3: Ints, spacing_V: Floats, normal_V3: Floats, cavity_V: Floats) -> None:
    """Unit normals, and how hollow the surface is at each vertex, in mesh spacings: positive in a crease."""
    normal_V3[:] = 0
    pull_V4 = np.zeros((len(point_V3), 4), np.float32)  # sum of the neighbours, and how many they are
    for t in range(len(triangle_T3)):
        a, b, c = triangle_T3[t, 0], triangle_T3[t, 1], triangle_T3[t, 2]
        ax, ay, az = point_V3[a, 0], point_V3[a, 1], point_V3[a, 2]
        bx, by, bz = point_V3[b, 0], point_V3[b, 1], point_V3[b, 2]
        cx, cy, cz = point_V3[c, 0], point_V3[c, 1], point_V3[c, 2]
        nx = (by - ay) * (cz - az) - (bz - az) * (cy - ay)
        ny = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)
        nz = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        sx, sy, sz = ax + bx + cx, ay + by + cy, az + bz + cz
        for i in (a, b, c):
            normal_V3[i, 0] += nx
            normal_V3[i, 1] += ny
            normal_V3[i, 2] += nz
            pull_V4[i, 0] += sx
            pull_V4[i, 1] += sy
            pull_V4[i, 2] += sz
            pull_V4[i, 3] += np.float32(3)
    for v in range(len(point_V3)):
        nx, ny, nz, count = normal_V3[v, 0], normal_V3[v, 1], normal_V3[v, 2], pull_V4[v, 3]
        scale = np.float32(1) / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-9))
        hollow = (pull_V4[v, 0] - count * point_V3[v, 0]) * nx
        hollow += (pull_V4[v, 1] - count * point_V3[v, 1]) * ny
        hollow += (pull_V4[v, 2] - count * point_V3[v, 2]) * nz
        normal_V3[v, 0], normal_V3[v, 1], normal_V3[v, 2] = nx * scale, ny * scale, nz * scale
        cavity_V[v] = np.float32(1.5) * hollow * scale / ((count + np.float32(1e-9)) * spacing_V[v])


@compiled
def visible(screen_V3: Floats, triangle_T3: Ints, depth_HW: Floats, owner_HW: Ints) -> None:
    """Depth buffer: which triangle each sample shows, -1 for none.

    `screen_V3` is x, y and depth; the larger depth is nearer. Triangles that face away show nothing. The triangles at
    an edge compute it from the same two ends, so that no sample falls between them.
    """
    depth_HW[:] = FAR
    owner_HW[:] = -1
    height, width = depth_HW.shape
    for t in range(len(triangle_T3)):
        a, b, c = triangle_T3[t, 0], triangle_T3[t, 1], triangle_T3[t, 2]
        x0, y0, z0 = screen_V3[a, 0], screen_V3[a, 1], screen_V3[a, 2]
        x1, y1, z1 = screen_V3[b, 0], screen_V3[b, 1], screen_V3[b, 2]
        x2, y2, z2 = screen_V3[c, 0], screen_V3[c, 1], screen_V3[c, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0:  # y points down on the screen
            continue
        top, bottom = max(0, ceil(min(y0, y1, y2))), min(height, ceil(max(y0, y1, y2)))
        if top >= bottom or max(x0, x1, x2) < 0 or min(x0, x1, x2) > width:
            continue
        share = np.float32(1) / area
        zx = ((z1 - z0) * (y2 - y0) - (z2 - z0) * (y1 - y0)) * share  # slopes of the depth
        zy = ((z2 - z0) * (x1 - x0) - (z1 - z0) * (x2 - x0)) * share
        z0 -= zx * x0 + zy * y0  # at the corner of the screen
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if y2 < y1:
            x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        long, upper, lower = (x2 - x0) / (y2 - y0), (x1 - x0) / (y1 - y0), (x2 - x1) / (y2 - y1)
        for y in range(top, bottom):
            row = np.float32(y)
            one = x0 + (row - y0) * long
            other = x0 + (row - y0) * upper if row < y1 else x1 + (row - y1) * lower
            z = z0 + row * zy
            for x in range(max(0, ceil(min(one, other))), min(width, ceil(max(one, other)))):
                depth = z + np.float32(x) * zx
                if depth > depth_HW[y, x]:
                    depth_HW[y, x] = depth
                    owner_HW[y, x] = t


@compiled
def smooth(image_HW3: Floats, kernel_T: Floats) -> None:
    """Separable blur in place; the border repeats its last pixel."""
    height, width, _ = image_HW3.shape
    reach, row_size = len(kernel_T) // 2, 3 * width
    image_HR = image_HW3.reshape(height, row_size)
    wide_R = np.empty(row_size + 6 * reach, np.float32)
    column_HR = np.zeros((height, row_size), np.float32)
    for y in range(height):
        for k in range(len(kernel_T)):
            source = min(max(y + k - reach, 0), height - 1)
            for i in range(row_size):
                column_HR[y, i] += kernel_T[k] * image_HR[source, i]
    for y in range(height):
        for i in range(row_size):
            wide_R[3 * reach + i] = column_HR[y, i]
        for i in range(3 * reach):
            wide_R[i] = column_HR[y, i % 3]
            wide_R[3 * reach + row_size + i] = column_HR[y, row_size - 3 + i % 3]
        for i in range(row_size):
            image_HR[y, i] = kernel_T[0] * wide_R[i]
        for k in range(1, len(kernel_T)):
            for i in range(row_size):
                image_HR[y, i] += kernel_T[k] * wide_R[3 * k + i]


@compiled
def project(
    point_V3: Floats, pivot_3: Floats, turn_33: Floats, distance: float, scale: float, corner_2: Floats, out_V3: Floats
) -> None:
    """Rotate about the pivot, which becomes the origin, and see from `distance` in front of it: x, y and depth.

    `scale` is in pixels; `corner_2` is where the origin lies on the screen.
    """
    far, factor = np.float32(distance), np.float32(scale)
    for v in range(len(point_V3)):
        x, y, z = point_V3[v, 0] - pivot_3[0], point_V3[v, 1] - pivot_3[1], point_V3[v, 2] - pivot_3[2]
        for d in range(3):
            point_V3[v, d] = turn_33[d, 0] * x + turn_33[d, 1] * y + turn_33[d, 2] * z
        near = factor / (far - point_V3[v, 2])
        out_V3[v, 0] = corner_2[0] + point_V3[v, 0] * near
        out_V3[v, 1] = corner_2[1] - point_V3[v, 1] * near
        out_V3[v, 2] = point_V3[v, 2]


@compiled
def expose(
    crop_HW3: Floats,
    gain_3: Floats,
    contrast: float,
    noise: float,
    grain_G: Floats,
    offset: int,
    out: NDArray[np.uint8],
) -> None:
    """Gain, contrast and sensor noise, then 8 bits. The noise is `grain_G` read from `offset` on, around its end."""
    height, width, _ = crop_HW3.shape
    at, half, steep, rough = offset, np.float32(0.5), np.float32(contrast), np.float32(noise)
    for y in range(height):
        for x in range(width):
            for d in range(3):
                value = (crop_HW3[y, x, d] * gain_3[d] - half) * steep + half + rough * grain_G[at]
                out[y, x, d] = np.uint8(min(max(value, np.float32(0)), np.float32(1)) * np.float32(255) + half)
                at = at + 1 if at + 1 < len(grain_G) else 0
