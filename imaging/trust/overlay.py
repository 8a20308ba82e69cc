"""Showing people what was invented, in a colour that colour-blind people see as well."""

import math

import torch
from torch import Tensor

from ..shapes import ShapeError

__all__ = ["draw_scale", "overlay_invented"]

_VERMILLION = (213, 94, 0)  # of Okabe & Ito's palette, told from grey by every kind of sight
_BLUE = (0, 114, 178)


def overlay_invented(picture: Tensor, share_map: Tensor, *, legend: bool = True) -> Tensor:
    """Paint a picture grey where it was measured and vermillion where it was invented.

    Parameters
    ----------
    picture : Tensor of uint8, shape (height, width, 3)
        From :func:`~barelens.imaging.display.to_display`.
    share_map : Tensor, shape (height, width)
        Measured share from 0 to 1, as from :meth:`Split.share_map`; blue where it is NaN.
    legend : bool, optional
        Whether to add a scale below, and a line on what is blue.

    Returns
    -------
    Tensor of uint8, shape (height or more, width, 3)
        The overlay.

    Raises
    ------
    ShapeError, TypeError
        Picture and map do not fit together, or the picture is not uint8.
    """
    if picture.dtype != torch.uint8:
        raise TypeError(f"picture must be uint8, got {picture.dtype}")
    if picture.ndim != 3 or picture.shape != (*share_map.shape, 3):
        raise ShapeError(
            f"picture must have shape {(*share_map.shape, 3)} to fit its map, "
            f"got {tuple(picture.shape)}"
        )
    grey = picture.float() @ torch.tensor([0.299, 0.587, 0.114], device=picture.device)
    painted = _tinted(grey, 1 - share_map.float(), _VERMILLION)
    nothing = _tinted(grey, torch.full_like(grey, 0.5), _BLUE)
    painted = torch.where(share_map.isnan()[..., None], nothing, painted)
    painted = painted.round().clamp(0, 255).to(torch.uint8)
    if not legend:
        return painted
    ramp = torch.linspace(0, 1, 256)[None].expand(8, -1)
    bar = _tinted(torch.full_like(ramp, 170.0), ramp, _VERMILLION).round().to(torch.uint8)
    scale = draw_scale(bar, "measured", "invented", picture.shape[1])
    swatch = torch.tensor(_BLUE, dtype=torch.uint8).expand(8, 8, 3)
    note = draw_scale(swatch, "", "blue: nothing to tell apart", picture.shape[1])
    strips = [scale, note] if bool(share_map.isnan().any()) else [scale]
    return torch.cat([painted, *(strip.to(painted.device) for strip in strips)])


def _tinted(grey: Tensor, amount: Tensor, colour: tuple[int, int, int]) -> Tensor:
    """Move grey (height, width) towards a colour of the same brightness order, (..., 3)."""
    weight = 0.85 * amount[..., None]
    shade = (0.35 + 0.65 * grey / 255)[..., None]
    return (1 - weight) * grey[..., None] + weight * shade * torch.tensor(colour).to(grey)


def draw_scale(bar: Tensor, low: str, high: str, width: int) -> Tensor:
    """Draw a colour bar with the names of its ends, to stand below a picture.

    Parameters
    ----------
    bar : Tensor of uint8, shape (rows, columns, 3)
        Colours from the low end to the high one.
    low, high : str
        Names of the ends.
    width : int
        Pixels of the picture above.

    Returns
    -------
    Tensor of uint8, shape (rows, width, 3)
        On white; letters shrink until both names and a bar fit.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    size = 14
    while True:
        font = ImageFont.load_default(size)
        left, right = (math.ceil(font.getlength(name)) for name in (low, high))
        length = width - left - right - 2 * size
        if length >= width // 5 or size <= 6:
            break
        size -= 1
    height = math.ceil(1.5 * size)
    strip = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(strip)
    draw.text((2, height // 2), low, fill="black", font=font, anchor="lm")
    draw.text((width - 2, height // 2), high, fill="black", font=font, anchor="rm")
    if length > 0:
        colours = Image.fromarray(bar.cpu().numpy()).resize((length, max(4, height // 2)))
        strip.paste(colours, (left + size, height // 4))
    return torch.from_numpy(np.array(strip))
