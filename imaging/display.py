"""Pictures for people: the only place where an image is scaled and clipped to be looked at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .files.colour import linear_to_srgb
from .shapes import ShapeError, check_floating

__all__ = ["DisplaySettings", "colour_map", "side_by_side", "to_display"]


@dataclass(frozen=True, eq=False)
class DisplaySettings:
    """How :func:`to_display` made a picture, enough to make it again.

    Attributes
    ----------
    black : float
        The linear value shown as black.
    white : Tensor, shape (...)
        The linear value shown as white, after the channel gains, of each image.
    channel_gains : Tensor, shape (..., channels)
        What each channel was multiplied with, once ``black`` was taken off.
    clipped_below, clipped_above : Tensor, shape (...)
        Share of values darker than black and brighter than white.
    """

    black: float
    white: Tensor
    channel_gains: Tensor
    clipped_below: Tensor
    clipped_above: Tensor

    def record(self) -> dict[str, Any]:
        """Give the settings as plain JSON data."""
        return {
            "black": self.black,
            "white": self.white.tolist(),
            "channel_gains": self.channel_gains.tolist(),
            "clipped_below": self.clipped_below.tolist(),
            "clipped_above": self.clipped_above.tolist(),
            "encoding": "srgb",
        }


def to_display(
    linear_rgb: Tensor,
    *,
    white: float | None = None,
    percentile: float = 99.5,
    black: float = 0.0,
    white_balance: Literal["grey-world"] | None = None,
) -> tuple[Tensor, DisplaySettings]:
    """Turn linear light into an 8-bit sRGB picture.

    Each image of a batch gets its own white point, and all channels of an image the same, so that
    exposure changes and colour does not. Values outside black to white are clipped and counted.

    Parameters
    ----------
    linear_rgb : Tensor, shape (..., 3 or 1, height, width)
        Linear RGB or grey, of any floating-point dtype and scale.
    white : float, optional
        The value to show as white; where left out, the percentile chooses it.
    percentile : float, optional
        The share of values, in percent, that are not brighter than white, in (0, 100]. Where the
        value there is not above black, as in a mostly black image, the largest value is white.
    black : float, optional
        The value to show as black.
    white_balance : {"grey-world", None}, optional
        Whether to give all channels the mean of their means first.

    Returns
    -------
    picture : Tensor of uint8, shape (..., height, width, 3)
        Channels last, as files and screens want it.
    settings : DisplaySettings
        What was chosen, and how much was clipped.

    Raises
    ------
    ShapeError, TypeError
        The image is of another shape or dtype.
    ValueError
        A value is NaN or infinite, a setting is out of its range, or the grey-world assumption
        cannot hold because a channel's mean is not above black.
    """
    check_floating(linear_rgb, "linear_rgb")
    if linear_rgb.ndim < 3 or linear_rgb.shape[-3] not in (1, 3) or linear_rgb.numel() == 0:
        raise ShapeError(
            "linear_rgb must have shape (..., 3 or 1, height, width), "
            f"got {tuple(linear_rgb.shape)}"
        )
    if not bool(torch.isfinite(torch.stack(linear_rgb.aminmax())).all()):
        raise ValueError("linear_rgb must be finite, got NaN or infinity")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be in (0, 100], got {percentile}")
    if white is not None and not white > black:
        raise ValueError(f"white must be above black={black}, got {white}")

    light = linear_rgb.detach() - black
    gains = _channel_gains(light, white_balance)
    light = light * gains[..., None, None]
    level = _white_level(light, percentile) if white is None else _filled(light, white - black)
    unit = light / level[..., None, None, None]
    settings = DisplaySettings(
        black=black,
        white=level + black,
        channel_gains=gains,
        clipped_below=(unit < 0).double().mean((-3, -2, -1)),
        clipped_above=(unit > 1).double().mean((-3, -2, -1)),
    )
    encoded = (linear_to_srgb(unit.clamp(0, 1)) * 255).round().to(torch.uint8)
    picture = encoded.expand(*encoded.shape[:-3], 3, *encoded.shape[-2:]).movedim(-3, -1)
    return picture.contiguous(), settings


def _filled(light: Tensor, value: float) -> Tensor:
    return light.new_full(light.shape[:-3], value)


def _channel_gains(light: Tensor, white_balance: str | None) -> Tensor:
    if white_balance is None:
        return light.new_ones(light.shape[:-2])
    if white_balance != "grey-world":
        raise ValueError(f"white_balance must be 'grey-world' or None, got {white_balance!r}")
    means = light.mean((-2, -1))
    if not bool((means > 0).all()):
        raise ValueError(
            "white_balance='grey-world' needs every channel's mean above black, "
            f"got a mean of {float(means.min()):g} over black"
        )
    return means.mean(-1, keepdim=True) / means


def _white_level(light: Tensor, percentile: float) -> Tensor:
    """Nearest-rank percentile of each image; torch.quantile refuses large ones."""
    values = light.flatten(-3)
    rank = math.ceil(values.shape[-1] * percentile / 100)
    brightest = values.topk(values.shape[-1] - rank + 1, sorted=False).values
    level = brightest.amin(-1)
    largest = values.amax(-1)
    level = torch.where(level > 0, level, largest)
    # Nothing is above black: any white point shows that.
    return torch.where(level > 0, level, torch.ones_like(level))


def side_by_side(
    images: Sequence[Tensor],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    gap: int = 8,
    font_size: int = 16,
) -> Tensor:
    """Place pictures beside each other on white, each with a label above.

    Parameters
    ----------
    images : sequence of Tensor of uint8, shape (height, width, 3)
        Pictures from :func:`to_display` or :func:`colour_map`, of any sizes; none is resized.
    labels : sequence of str
        One for each picture.
    columns : int, optional
        Pictures in a row; all in one row where left out.
    gap : int, optional
        Pixels between pictures and around them.
    font_size : int, optional
        Height of the labels in pixels.

    Returns
    -------
    Tensor of uint8, shape (height, width, 3)
        The montage.

    Raises
    ------
    ShapeError, TypeError
        A picture is of another shape or dtype.
    ValueError
        There are no pictures, more or fewer labels than pictures, or a size is not positive.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    _check_pictures(images, labels)
    columns = len(images) if columns is None else columns
    if columns < 1 or gap < 0 or font_size < 1:
        raise ValueError(
            "columns and font_size must be positive and gap not negative, "
            f"got {columns}, {font_size} and {gap}"
        )
    font = ImageFont.load_default(font_size)
    strip = math.ceil(1.5 * font_size)
    widest = max(
        max(image.shape[1], math.ceil(font.getlength(label)))
        for image, label in zip(images, labels, strict=True)
    )
    step_right = gap + widest
    step_down = gap + strip + max(image.shape[0] for image in images)
    rows = math.ceil(len(images) / columns)
    montage = Image.new("RGB", (gap + columns * step_right, gap + rows * step_down), "white")
    draw = ImageDraw.Draw(montage)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(index, columns)
        left, top = gap + column * step_right, gap + row * step_down
        draw.text((left, top), label, fill="black", font=font)
        montage.paste(Image.fromarray(image.cpu().numpy()), (left, top + strip))
    return torch.from_numpy(np.array(montage))


def _check_pictures(images: Sequence[Tensor], labels: Sequence[str]) -> None:
    if not images or len(images) != len(labels):
        raise ValueError(f"images need one label each, got {len(images)} and {len(labels)}")
    for image in images:
        if image.ndim != 3 or image.shape[-1] != 3 or image.numel() == 0:
            raise ShapeError(
                f"every image must have shape (height, width, 3), got {tuple(image.shape)}"
            )
        if image.dtype != torch.uint8:
            raise TypeError(f"every image must be uint8, got {image.dtype}")


def colour_map(
    values: Tensor,
    *,
    low: float,
    high: float,
    palette: Literal["viridis", "inferno", "magma", "cividis", "twilight"] = "viridis",
) -> Tensor:
    """Show a map of numbers in colours that look evenly spaced.

    Parameters
    ----------
    values : Tensor of a floating-point dtype, shape (..., height, width)
        What to show. Values outside ``low`` to ``high`` get the colour of the nearer end, NaN
        mid-grey.
    low, high : float
        The values of the first and the last colour.
    palette : str, optional
        A perceptual palette; "twilight" is for angles.

    Returns
    -------
    Tensor of uint8, shape (..., height, width, 3)
        RGB, channels last.

    Raises
    ------
    TypeError
        The dtype is not floating point.
    ValueError
        ``high`` is not above ``low``, or the palette is unknown.
    """
    import cv2
    import numpy as np

    check_floating(values, "values")
    if not high > low:
        raise ValueError(f"high must be above low={low}, got {high}")
    if palette not in _PALETTES:
        raise ValueError(f"unknown palette {palette!r}; choose one of: {', '.join(_PALETTES)}")
    ramp = np.arange(256, dtype=np.uint8)[None]
    bgr = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{palette.upper()}"))[0]
    table = torch.from_numpy(np.vstack([bgr[:, ::-1], [[128, 128, 128]]]).astype(np.uint8))
    unit = ((values.detach() - low) / (high - low)).clamp(0, 1)
    index = torch.where(unit.isnan(), 256, (unit * 255).round()).long()
    return table.to(values.device)[index]


_PALETTES = ("viridis", "inferno", "magma", "cividis", "twilight")
