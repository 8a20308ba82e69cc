"""How each published model wants its pictures: framing, interpolation, mean and deviation."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..imaging.shapes import ShapeError
from .sapiens.tasks import Task

__all__ = ["Framing", "Interpolation", "Preparation", "normalise_pixels", "reference_preparation"]

Framing = Literal["person", "stretch", "pad"]
Interpolation = Literal["linear", "linear-or-cubic", "area-or-cubic"]

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# The "lite" scripts round these, one reason why their results differ from the full ones.
_ROUNDED = ((123.5, 116.5, 103.5), (58.5, 57.0, 57.5))


@dataclass(frozen=True)
class Preparation:
    """From a picture to a model's pixels.

    Attributes
    ----------
    size : (int, int)
        Height and width the model sees.
    framing : "person", "stretch" or "pad"
        A crop around each person; the whole picture stretched to ``size``; or the whole picture
        with its proportions kept and zeros around it.
    interpolation : "linear", "linear-or-cubic" or "area-or-cubic"
        The first of a pair is for shrinking, the second for enlarging.
    via_image_size : bool
        Crop a person in two steps, first to the size of the whole picture and then to ``size``,
        which deforms people in a picture of other proportions: what the lite scripts do.
    box_padding : float
        How much larger than its box a person's crop is.
    mean, deviation : (float, float, float)
        Of red, green and blue in 0..255.
    """

    size: tuple[int, int]
    framing: Framing
    interpolation: Interpolation = "linear"
    via_image_size: bool = False
    box_padding: float = 1.25
    mean: tuple[float, float, float] = _IMAGENET[0]
    deviation: tuple[float, float, float] = _IMAGENET[1]

    def __post_init__(self) -> None:
        if min(self.size) < 2:
            raise ValueError(f"size must be at least 2x2 pixels, got {self.size}")
        if not self.box_padding > 0:
            raise ValueError(f"box_padding must be positive, got {self.box_padding}")


def reference_preparation(
    family: str, task: Task, size: tuple[int, int], *, lite: bool = False
) -> Preparation:
    """Return the preparation a published model was made with.

    Parameters
    ----------
    family : "sapiens", "sapiens2" or "barelens"
        Generation of the model; ours look at every task in the crop of a person.
    task : str
        One of :data:`~barelens.pose.sapiens.TASKS`.
    size : (int, int)
        Height and width the model sees.
    lite : bool
        Follow the first generation's lite scripts instead of the full ones.

    Raises
    ------
    ValueError
        There is no such family, or ``lite`` is asked of another than the first.
    """
    if family not in ("sapiens", "sapiens2", "barelens"):
        raise ValueError(f"family must be sapiens, sapiens2 or barelens, got {family!r}")
    if lite and family != "sapiens":
        raise ValueError(f"only the first generation has lite scripts, got family={family!r}")
    if family == "barelens":
        return Preparation(size, "person")
    if family == "sapiens":
        mean, deviation = _ROUNDED if lite else _IMAGENET
        framing: Framing = "person" if task == "pose" else "stretch"
        return Preparation(
            size, framing, via_image_size=lite and task == "pose", mean=mean, deviation=deviation
        )
    if task == "pose":
        return Preparation(size, "person", "linear-or-cubic")
    if task == "segmentation":
        return Preparation(size, "stretch", "area-or-cubic")
    return Preparation(size, "pad")


def normalise_pixels(pixels: Tensor, preparation: Preparation) -> Tensor:
    """Take the mean out of pixels in 0..255 and divide by the deviation.

    Parameters
    ----------
    pixels : Tensor of uint8 or a floating-point dtype, shape (..., 3, height, width)
        Display-encoded RGB in [0, 255].
    preparation : Preparation
        Whose mean and deviation.

    Returns
    -------
    Tensor, shape (..., 3, height, width)
        In float32 for uint8, in the dtype of ``pixels`` otherwise.
    """
    if pixels.ndim < 3 or pixels.shape[-3] != 3:
        raise ShapeError(
            f"pixels must have shape (..., 3, height, width), got {tuple(pixels.shape)}"
        )
    if not pixels.is_floating_point():
        pixels = pixels.float()
    mean = torch.tensor(preparation.mean, dtype=pixels.dtype, device=pixels.device)
    deviation = torch.tensor(preparation.deviation, dtype=pixels.dtype, device=pixels.device)
    return (pixels - mean[:, None, None]) / deviation[:, None, None]
