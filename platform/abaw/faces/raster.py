"""Triangles to pixels on one core: facial units, normals, depth buffer, deferred shading and averaging, in numba.

Everything is sequential and without fast-math, so that a frame has the same bytes in every process. Images are float32
with channels last, 0 to 1; the screen has x to the right and y down.
"""

import math
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


@compiled
def displace(base_V3: Floats, weight_K: Floats, start_K: Ints, vertex_M: Ints, move_M3: Floats, out_V3: Floats) -> None:
    """`out = base + sum of weight * target`, targets as `sparse_targets` packs them, summed in a fixed order."""
    out_V3[:] = base_V3
    for k in range(len(weight_K)):
        if weight_K[k] != 0:
            for m in range(start_K[k], start_K[k + 1]):
                v = vertex_M[m]
                for d in range(3):
                    out_V3[v, d] += weight_K[k] * move_M3[m, d]


def sparse_targets(target_KV3: Floats) -> tuple[Ints, Ints, Floats]:
    """Pack displacements: target k moves `vertex[start[k]:start[k + 1]]` by the same rows of `move`."""
    moved = [np.flatnonzero(np.abs(target_V3).max(axis=1) > 1e-4) for target_V3 in target_KV3]
    start_K = np.concatenate([[0], np.cumsum([len(vertex) for vertex in moved])])
    move_M3 = np.concatenate([target_V3[vertex] for target_V3, vertex in zip(target_KV3, moved, strict=True)])
    return start_K.astype(np.int32), np.concatenate(moved).astype(np.int32), move_M3.astype(np.float32)


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
def visible(screen_V3: Floats, triangle_T3: Ints, depth_HW: Floats, owner_HW: Ints, weight_HW2: Floats) -> None:
    """Depth buffer: which triangle each pixel shows (-1 for none), and the weights of its first two corners there.

    `screen_V3` is x, y and depth; the larger depth is nearer. Triangles that face away show nothing.
    """
    depth_HW[:] = FAR
    owner_HW[:] = -1
    height, width = depth_HW.shape
    for t in range(len(triangle_T3)):
        a, b, c = triangle_T3[t, 0], triangle_T3[t, 1], triangle_T3[t, 2]
        x0, y0 = screen_V3[a, 0], screen_V3[a, 1]
        x1, y1 = screen_V3[b, 0], screen_V3[b, 1]
        x2, y2 = screen_V3[c, 0], screen_V3[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0:  # y points down on the screen
            continue
        left, right = max(0, math.ceil(min(x0, x1, x2))), min(width - 1, math.floor(max(x0, x1, x2)))
        top, bottom = max(0, math.ceil(min(y0, y1, y2))), min(height - 1, math.floor(max(y0, y1, y2)))
        if right < left or bottom < top:
            continue
        share = np.float32(1) / area
        dx0, dy0 = (y1 - y2) * share, (x2 - x1) * share  # slopes of the weights of the first two corners
        dx1, dy1 = (y2 - y0) * share, (x0 - x2) * share
        z2 = screen_V3[c, 2]
        dz0, dz1 = screen_V3[a, 2] - z2, screen_V3[b, 2] - z2
        for y in range(top, bottom + 1):
            w0 = dx0 * (np.float32(left) - x2) + dy0 * (np.float32(y) - y2)
            w1 = dx1 * (np.float32(left) - x2) + dy1 * (np.float32(y) - y2)
            for x in range(left, right + 1):
                if w0 >= 0 and w1 >= 0 and w0 + w1 <= 1:
                    z = z2 + w0 * dz0 + w1 * dz1
                    if z > depth_HW[y, x]:
                        depth_HW[y, x] = z
                        owner_HW[y, x] = t
                        weight_HW2[y, x, 0] = w0
                        weight_HW2[y, x, 1] = w1
                w0 += dx0
                w1 += dx1


@compiled
def add_wrinkles(left_U: Floats, right_U: Floats, map_UHW: Floats, box_U4: Ints, paint_HW4: Floats) -> None:
    """Set the last channel of the paint to `1 + sum of strength * map`; a box is a map's top, bottom, left, right.

    The person's right half is the left half of the paint.
    """
    middle = paint_HW4.shape[1] // 2
    paint_HW4[:, :, 3] = 1
    for u in range(len(left_U)):
        if left_U[u] != 0 or right_U[u] != 0:
            for y in range(box_U4[u, 0], box_U4[u, 1]):
                for x in range(box_U4[u, 2], box_U4[u, 3]):
                    strength = right_U[u] if x < middle else left_U[u]
                    paint_HW4[y, x, 3] += strength * map_UHW[u, y, x]


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
def turn(point_V3: Floats, pivot_3: Floats, turn_33: Floats) -> None:
    """Rotate about the pivot, which becomes the origin; in place."""
    for v in range(len(point_V3)):
        x, y, z = point_V3[v, 0] - pivot_3[0], point_V3[v, 1] - pivot_3[1], point_V3[v, 2] - pivot_3[2]
        for d in range(3):
            point_V3[v, d] = turn_33[d, 0] * x + turn_33[d, 1] * y + turn_33[d, 2] * z


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
