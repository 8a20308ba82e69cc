"""Crops of people: from boxes to frames, and from a picture to a batch of crops on its device."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..imaging.shapes import ShapeError, check_shape

__all__ = ["Frames", "boxes_to_frames", "crop_people", "sample_image"]


@dataclass(frozen=True, eq=False)
class Frames:
    """Upright rectangles in a picture, one for each person.

    Attributes
    ----------
    centers : Tensor, shape (..., 2)
        x and y in pixels.
    scales : Tensor, shape (..., 2)
        Width and height in pixels.
    """

    centers: Tensor
    scales: Tensor

    def __post_init__(self) -> None:
        check_shape(self.centers, (2,), "centers")
        check_shape(self.scales, tuple(self.centers.shape), "scales")

    def __len__(self) -> int:
        return self.centers.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> "Frames":
        return Frames(self.centers[index], self.scales[index])

    def to(self, device: torch.device | str) -> "Frames":
        """Return the same frames on another device."""
        return Frames(self.centers.to(device), self.scales.to(device))

    @property
    def corners(self) -> Tensor:
        """Upper left corners, shape (..., 2), x and y in pixels."""
        return self.centers - 0.5 * self.scales


def boxes_to_frames(boxes: Tensor, aspect: float, *, padding: float = 1.25) -> Frames:
    """Enlarge boxes and grow them to one proportion, about their centres.

    Parameters
    ----------
    boxes : Tensor of a floating-point dtype, shape (..., 4)
        Left, top, right and bottom in pixels; they may reach out of the picture.
    aspect : float
        Width over height of the frames: 3 / 4 for Sapiens.
    padding : float
        How much larger than the box, before it grows to the proportion.

    Raises
    ------
    ShapeError, ValueError
        Boxes are of another shape, or not finite, or have no area.
    """
    check_shape(boxes, (4,), "boxes")
    if not boxes.is_floating_point():
        raise TypeError(f"boxes must have a floating-point dtype, got {boxes.dtype}")
    size = boxes[..., 2:] - boxes[..., :2]
    if not bool((torch.isfinite(boxes).all(-1) & (size > 0).all(-1)).all()):
        raise ValueError(
            "boxes must be finite, with right beyond left and bottom below top, got "
            f"{boxes.tolist()}"
        )
    width, height = (size * padding).unbind(-1)
    scales = torch.stack(
        [torch.maximum(width, height * aspect), torch.maximum(height, width / aspect)], dim=-1
    )
    return Frames((boxes[..., :2] + boxes[..., 2:]) / 2, scales)


def crop_people(
    image: Tensor,
    frames: Frames,
    size: tuple[int, int],
    *,
    interpolation: Literal["linear", "cubic", "linear-or-cubic"] = "linear",
    via_image_size: bool = False,
) -> Tensor:
    """Cut frames out of a picture, all in one sampling, and bring them to one size.

    The first and the last pixel of a crop lie on the edges of its frame ("unbiased data
    processing"), and outside of the picture is black. Equal to OpenCV's ``warpAffine`` as of 5.0
    but for rounding of ties: at most 1 level of 255, in fewer than one value of a thousand.
    Older releases round positions to 1/32 of a pixel, which noise turns into up to 7 levels.

    Parameters
    ----------
    image : Tensor of uint8 or a floating-point dtype, shape (channels, height, width)
        The picture.
    frames : Frames of shape (people, 2)
        From :func:`boxes_to_frames`.
    size : (int, int)
        Height and width of the crops.
    interpolation : "linear", "cubic" or "linear-or-cubic"
        The last takes cubic for the crops that enlarge the picture in both axes.
    via_image_size : bool
        See :class:`~barelens.pose.preparation.Preparation`.

    Returns
    -------
    Tensor, shape (people, channels, *size)
        In the dtype of the image; uint8 is rounded to the nearest.

    References
    ----------
    Huang et al., "The Devil Is in the Details: Delving Into Unbiased Data Processing for Human
    Pose Estimation", CVPR 2020.
    """
    if image.ndim != 3:
        raise ShapeError(f"image must have shape (channels, height, width), got {image.shape}")
    if frames.centers.ndim != 2:
        raise ShapeError(f"frames must have shape (people, 2), got {tuple(frames.centers.shape)}")
    if via_image_size:
        whole = crop_people(image, frames, (image.shape[1], image.shape[2]))
        return _rounded(
            F.interpolate(_wide(whole), size=size, mode="bilinear", align_corners=False), image
        )
    if interpolation != "linear-or-cubic":
        return _rounded(_crop(image, frames, size, interpolation), image)
    steps = torch.tensor([size[1] - 1, size[0] - 1], device=frames.scales.device)
    enlarge = (steps >= frames.scales).all(dim=-1).to(image.device)
    crops = _crop(image, frames, size, "linear")
    if bool(enlarge.any()):
        crops[enlarge] = _crop(image, frames[enlarge.to(frames.scales.device)], size, "cubic")
    return _rounded(crops, image)


def sample_image(
    image: Tensor, x: Tensor, y: Tensor, *, mode: Literal["linear", "cubic"] = "linear"
) -> Tensor:
    """Sample a picture on upright grids of positions.

    Parameters
    ----------
    image : Tensor of a floating-point dtype, shape (channels, height, width)
        Outside it is zero.
    x, y : Tensor, shape (count, columns), (count, rows)
        Positions in pixels, 0 at the centre of the first pixel; those of one grid are all pairs.

    Returns
    -------
    Tensor, shape (count, channels, rows, columns)
        Values, interpolated linearly or by cubics (a = -0.75, as OpenCV's).
    """
    height, width = image.shape[-2:]
    count, rows, columns = x.shape[0], y.shape[1], x.shape[1]
    # A picture of one pixel has no last pixel to scale to; any step serves it.
    across = (2 * x / max(width - 1, 1) - 1).to(image.dtype)
    down = (2 * y / max(height - 1, 1) - 1).to(image.dtype)
    grid = torch.stack(
        [
            across[:, None, :].expand(count, rows, columns),
            down[:, :, None].expand(count, rows, columns),
        ],
        dim=-1,
    )
    # All grids stand below each other in one, so that the picture is not repeated for each.
    sampled = F.grid_sample(
        image[None],
        grid.reshape(1, count * rows, columns, 2),
        mode="bilinear" if mode == "linear" else "bicubic",
        padding_mode="zeros",
        align_corners=True,
    )
    return torch.unflatten(sampled[0], 1, (count, rows)).transpose(0, 1)


def _crop(
    image: Tensor, frames: Frames, size: tuple[int, int], mode: Literal["linear", "cubic"]
) -> Tensor:
    # float64 for the few positions on the edges: in float32 they lose 1e-4 px of a large picture.
    corners = frames.corners.to(image.device, torch.float64)
    scales = frames.scales.to(image.device, torch.float64)
    x, y = (
        corners[:, axis, None]
        + torch.linspace(0, 1, count, dtype=torch.float64, device=image.device)
        * scales[:, axis, None]
        for axis, count in ((0, size[1]), (1, size[0]))
    )
    return sample_image(_wide(image), x, y, mode=mode)


def _wide(image: Tensor) -> Tensor:
    return image if image.is_floating_point() else image.float()


def _rounded(crops: Tensor, image: Tensor) -> Tensor:
    """Return to the dtype of the image the crops come from."""
    return crops if image.is_floating_point() else crops.round().clamp(0, 255).to(image.dtype)
