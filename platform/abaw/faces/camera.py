"""A video's camera and room: light, background, alignment, and what spoils the picture on its way into the file.

Everything but the noise is fixed for a video: a network must look past it, and cannot learn it from one video.
"""

from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from scipy.ndimage import zoom

from abaw.faces.raster import expose, smooth
from abaw.faces.shading import Light, paint_ellipse

Floats = NDArray[np.float32]

GRAIN = 100_003
"""Noise values of a camera: more than a small crop has, and a prime, so that rows never line up."""


@dataclass(frozen=True, kw_only=True)
class Occluder:
    """Something soft-edged in front of the face for a while: a hand, a microphone, a cup, a mark on the lens."""

    first: float
    last: float
    """When it is there, as shares of the video."""
    x: float
    y: float
    """Its middle, as shares of the crop."""
    rx: float
    ry: float
    colour_3: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """How one video was filmed and stored."""

    light: Light
    background_HW3: Floats
    exposure_3: Floats
    """Gain of each channel, about 1."""
    contrast: float
    blur_T: Floats
    """Weights of the separable blur."""
    noise: float
    """Deviation of the sensor noise, on a scale of 0 to 1."""
    grain_G: Floats
    """Standard normal values; a frame's noise is read from a place of its own on."""
    quality: int
    """JPEG quality, 1 to 100."""
    occluder: Occluder | None
    shift: tuple[float, float]
    zoom: float
    jitter: float
    """Deviation of the alignment from frame to frame, as a share of the crop."""


def make_camera(seed: np.random.SeedSequence, size: int) -> Camera:
    """One way to film; `size` is the crop's side in pixels."""
    rng = np.random.default_rng(seed)
    direction_3 = np.array([rng.normal(0, 0.55), rng.normal(0.35, 0.3), 1.0])
    warmth = rng.normal(0, 0.05)
    tint_3 = np.array([1 + warmth, 1.0, 1 - warmth])
    ambient = rng.uniform(0.35, 0.6)
    sigma = rng.uniform(0.0, 0.75) * size / 112
    return Camera(
        light=Light(
            direction_3=(direction_3 / np.linalg.norm(direction_3)).astype(np.float32),
            colour_3=(tint_3 * rng.uniform(0.95, 1.15)).astype(np.float32),
            ambient_3=(ambient * np.array([1 - warmth, 1.0, 1 + warmth])).astype(np.float32),
        ),
        background_HW3=_background(rng, size),
        exposure_3=(tint_3 * rng.uniform(0.85, 1.15)).astype(np.float32),
        contrast=float(rng.uniform(0.85, 1.15)),
        blur_T=_gaussian(sigma),
        noise=float(rng.uniform(0.004, 0.025)),
        grain_G=rng.standard_normal(GRAIN, dtype=np.float32),
        quality=int(rng.integers(60, 96)),
        occluder=_occluder(rng) if rng.random() < 0.3 else None,
        shift=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.012))),
        zoom=float(np.exp(rng.normal(0, 0.04))),
        jitter=float(rng.uniform(0.001, 0.006)),
    )


def _gaussian(sigma: float) -> Floats:
    reach = max(1, int(np.ceil(2 * sigma)))
    weight_T = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 0.05)) ** 2)
    return np.asarray(weight_T / weight_T.sum(), np.float32)


def _background(rng: np.random.Generator, size: int) -> Floats:
    """A room out of focus: a gradient and some blobs."""
    coarse_HW3 = rng.uniform(0.15, 0.75) + rng.normal(0, 0.06, 3) + rng.normal(0, 0.16, (5, 5, 1))
    coarse_HW3 = coarse_HW3 + rng.normal(0, 0.03, (5, 5, 3))
    fine_HW3 = np.stack(
        [zoom(coarse_HW3[:, :, d], size / 5, order=1, grid_mode=True, mode="nearest") for d in range(3)], axis=2
    )
    row_H11 = np.linspace(-0.5, 0.5, size)[:, None, None]
    return np.asarray(np.clip(fine_HW3 + rng.normal(0, 0.3) * row_H11, 0.02, 0.98), np.float32)


def _occluder(rng: np.random.Generator) -> Occluder:
    first = rng.uniform(0, 0.7)
    low = rng.random() < 0.7
    skin = rng.uniform(0.3, 0.85) * np.array([1.0, 0.76, 0.62])
    return Occluder(
        first=float(first),
        last=float(first + rng.uniform(0.1, 0.35)),
        x=float(rng.choice([0.12, 0.88]) + rng.normal(0, 0.08)),
        y=float(rng.uniform(0.75, 1.0) if low else rng.uniform(0.05, 0.4)),
        rx=float(rng.uniform(0.10, 0.26)),
        ry=float(rng.uniform(0.10, 0.26)),
        colour_3=(skin if rng.random() < 0.5 else rng.uniform(0.05, 0.6) + rng.normal(0, 0.04, 3)).astype(np.float32),
    )


def develop(camera: Camera, crop_HW3: Floats, share: float, rng: np.random.Generator) -> bytes:
    """The JPEG bytes of a rendered crop; `share` is how much of the video has passed, 0 to 1."""
    size = crop_HW3.shape[0]
    if (thing := camera.occluder) is not None and thing.first <= share <= thing.last:
        paint_ellipse(crop_HW3, thing.colour_3, thing.x * size, thing.y * size, thing.rx * size, thing.ry * size, 0.7)
    smooth(crop_HW3, camera.blur_T)
    pixel_HW3 = np.empty(crop_HW3.shape, np.uint8)
    offset = int(rng.integers(len(camera.grain_G)))
    expose(crop_HW3, camera.exposure_3, camera.contrast, camera.noise, camera.grain_G, offset, pixel_HW3)
    return bytes(simplejpeg.encode_jpeg(pixel_HW3, quality=camera.quality, colorspace="RGB", colorsubsampling="420"))
