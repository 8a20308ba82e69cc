"""Rendered scenes without limit: overlapping, textured, shaded shapes and strokes."""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...files.colour import srgb_to_linear

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["render_scene"]

Array: TypeAlias = "NDArray[np.float32]"

_SMALLEST = 0.008  # of the picture's side
_LARGEST = 0.5


def render_scene(side: int, *, seed: int) -> Tensor:
    """Render a "dead leaves" scene: occluding shapes whose sizes follow a power law.

    Edges, textures and flat parts of all sizes then occur together, as in photographs, from which
    a prior for photographs can be learned.

    Parameters
    ----------
    side : int
        Height and width in pixels, at least 16.
    seed : int
        Seed of everything drawn.

    Returns
    -------
    Tensor of float32, shape (3, side, side)
        Linear light in [0, 1].

    Raises
    ------
    ValueError
        The side is too small.

    References
    ----------
    Lee, Mumford & Huang, "Occlusion Models for Natural Images: A Statistical Study of a
    Scale-Invariant Dead Leaves Model", IJCV 2001; Achddou et al., "Synthetic Images as a
    Regularity Prior for Image Restoration Neural Networks", SSVM 2021.
    """
    import cv2

    if side < 16:
        raise ValueError(f"side must be at least 16, got {side}")
    rng = np.random.default_rng(seed)
    palette = _palette(rng)
    textures = [_fractal_texture(side, rng) for _ in range(2)] + [_grating(side, rng)]
    picture: Array = np.ones((side, side, 3), np.float32) * _colour(palette, rng)
    picture += 0.15 * rng.random() * textures[0][..., None]
    for _ in range(int(rng.integers(30, 300))):
        _draw_leaf(picture, palette, textures, rng)
    for _ in range(int(rng.integers(0, 12)) if rng.random() < 0.5 else 0):
        _draw_writing(picture, _colour(palette, rng), rng)
    picture *= _illumination(side, rng)[..., None]
    blur = rng.uniform(0, 0.004) * side
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur).astype(np.float32)
    encoded = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    return srgb_to_linear(encoded.clamp(0, 1))


def _palette(rng: np.random.Generator) -> Array:
    """Draw a few hues, most of them subdued, that a scene shares."""
    import cv2

    number = int(rng.integers(3, 9))
    hue = (rng.random() + rng.normal(0, rng.choice([0.05, 0.3]), number)) % 1
    saturation = rng.beta(1.2, 2.5, number)
    hsv = np.stack([360 * hue, saturation, rng.beta(1.3, 1.3, number)], -1).astype(np.float32)
    rgb: Array = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    return rgb


def _colour(palette: Array, rng: np.random.Generator) -> Array:
    colour = palette[rng.integers(len(palette))] * rng.uniform(0.6, 1.25)
    colour = colour + rng.normal(0, 0.05, 3)
    return colour.clip(0, 1).astype(np.float32)


def _fractal_texture(side: int, rng: np.random.Generator) -> Array:
    """Noise of unit deviation whose spectrum falls like a power of the frequency."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * frequency ** -rng.uniform(0.3, 1.8)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return (noise / noise.std()).astype(np.float32)


def _grating(side: int, rng: np.random.Generator) -> Array:
    """Stripes, or the product of two: tiles."""
    axis = np.arange(side, dtype=np.float32)
    stripes = np.ones((side, side), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(60)))
        along = np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None]
        wave = np.sin(2 * np.pi * along / period)
        stripes *= np.sign(wave) if rng.random() < 0.5 else wave
    return stripes


def _draw_leaf(
    picture: Array, palette: Array, textures: list[Array], rng: np.random.Generator
) -> None:
    """Cover a part of the picture with one shape."""
    import cv2

    side = picture.shape[0]
    # A density like 1/r: flatter than the scale-invariant r**-3, so that fewer leaves do.
    radius = side * np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST)))
    centre = rng.uniform(-0.1, 1.1, 2) * side
    outline = centre + radius * _outline(rng)
    start = np.floor(outline.min(0)).astype(int).clip(0, side)
    stop = (np.ceil(outline.max(0)).astype(int) + 1).clip(0, side)
    if (stop - start).min() < 1:
        return
    window = np.s_[start[1] : stop[1], start[0] : stop[0]]
    drawn = np.zeros((stop[1] - start[1], stop[0] - start[0]), np.uint8)
    shift = 4  # cv2's fixed-point bits: smooth edges
    points = np.round((outline - start) * 2**shift).astype(np.int32)
    cv2.fillPoly(drawn, [points], 255, lineType=cv2.LINE_AA, shift=shift)
    texture = textures[rng.integers(len(textures))][window]
    shade = rng.choice([0, 0.03, 0.2]) * rng.uniform(0.3, 1) * texture + _slope(drawn.shape, rng)
    leaf = _colour(palette, rng) * (1 + shade[..., None])
    opacity = 1.0 if rng.random() < 0.85 else rng.uniform(0.3, 1)
    cover = (drawn * np.float32(opacity / 255))[..., None]
    picture[window] += cover * (leaf - picture[window])


def _outline(rng: np.random.Generator) -> "NDArray[np.float64]":
    """Points around a unit shape: an ellipse, a polygon, a rectangle or a blob."""
    kind = rng.integers(4)
    if kind == 0:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        points = np.stack([np.cos(angles), np.sin(angles)], -1)
    elif kind == 1:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        points = np.stack([np.cos(angles), np.sin(angles)], -1)
    elif kind == 2:
        points = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * 0.8
    else:
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        reach = np.full(64, 0.8)
        for k in range(1, 6):
            reach += rng.normal(0, 0.25 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        points = np.stack([np.cos(angles), np.sin(angles)], -1) * reach[:, None]
    points = points * [1.0, np.exp(rng.uniform(np.log(0.15), 0))]
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(points @ rotation)


def _slope(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Shading that rises evenly across a shape."""
    down, right = rng.normal(0, 0.2, 2)
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    slope: Array = (down * rows + right * columns).astype(np.float32)
    return slope


def _draw_writing(picture: Array, colour: Array, rng: np.random.Generator) -> None:
    """Draw a line of letters or a curve."""
    import cv2

    side = picture.shape[0]
    where = tuple(int(value) for value in rng.uniform(0, 0.8, 2) * side)
    width = int(rng.integers(1, max(2, side // 100) + 1))
    ink = np.zeros((side, side), np.uint8)
    if rng.random() < 0.5:
        letters = "".join(chr(code) for code in rng.integers(48, 123, rng.integers(2, 12)))
        font, size = int(rng.integers(0, 8)), rng.uniform(0.4, 3) * side / 512
        cv2.putText(ink, letters, where, font, size, 255, width, cv2.LINE_AA)
    else:
        steps = rng.normal(0, 0.06 * side, (8, 2)).cumsum(0) + where
        cv2.polylines(ink, [steps.astype(np.int32)], False, 255, width, cv2.LINE_AA)
    picture += (ink / np.float32(255))[..., None] * (colour - picture)


def _illumination(side: int, rng: np.random.Generator) -> Array:
    """Light that falls off across the scene."""
    falloff = np.exp(_slope((side, side), rng) * rng.uniform(0, 2))
    return (falloff * rng.uniform(0.5, 1.1)).astype(np.float32)
