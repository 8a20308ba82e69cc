"""Tensors as pictures inside a page."""

import base64
import tempfile
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from ...imaging.display import colour_map, to_display
from ...imaging.files import write_png

__all__ = ["LARGEST", "light_picture", "map_picture", "shrunk"]

#: Longest side of a picture in the page; larger ones are averaged down.
LARGEST = 640


def shrunk(image: Tensor, largest: int = LARGEST) -> Tensor:
    """Average (..., height, width) down so that no side exceeds a length."""
    height, width = image.shape[-2:]
    factor = -(-max(height, width) // largest)
    size = (max(height // factor, 1), max(width // factor, 1))
    flat = image.reshape(1, -1, height, width)
    pooled = torch.nn.functional.adaptive_avg_pool2d(flat, size)
    return pooled.reshape(*image.shape[:-2], *size)


def map_picture(
    values: Tensor, *, low: float, high: float, alt: str, palette: str = "viridis"
) -> str:
    """Show numbers (height, width) in colours, as an ``img`` element."""
    return _element(colour_map(values, low=low, high=high, palette=palette), alt)  # type: ignore[arg-type]


def light_picture(linear_rgb: Tensor, *, alt: str) -> str:
    """Show linear light (3 or 1, height, width), its 99.5 % quantile white, as an ``img``."""
    return _element(to_display(linear_rgb)[0], alt)


def _element(picture: Tensor, alt: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        write_png(path, picture)
        content = base64.b64encode(path.read_bytes()).decode()
    height, width = picture.shape[:2]
    form = ' class="square"' if width < 1.2 * height else ""
    return (
        f'<img{form} src="data:image/png;base64,{content}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}">'
    )
