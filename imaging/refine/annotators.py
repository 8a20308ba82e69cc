"""Pictures for a second ControlNet: edges, line art or poses, found in the reconstruction."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .libraries import need_diffusers

__all__ = ["ANNOTATORS", "annotate", "load_controlnet"]

_LOST = (
    "annotators need controlnet_aux and the torchvision that fits the installed torch "
    f"{torch.__version__} (see https://pytorch.org/get-started): "
    "pip install 'barelens[annotators]'"
)

#: controlnet_aux's class of each annotator, where its weights are (None where it has none), and
#: its options that are sides of pictures.
ANNOTATORS: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "canny": ("CannyDetector", None, ("detect_resolution", "image_resolution")),
    "lineart": ("LineartStandardDetector", None, ("detect_resolution",)),
    "openpose": (
        "OpenposeDetector",
        "lllyasviel/ControlNet",
        ("detect_resolution", "image_resolution"),
    ),
}


def annotate(name: str, picture: Tensor, *, weights: str | Path | None = None) -> Tensor:
    """Annotate pictures, such as a linear reconstruction made for display.

    Parameters
    ----------
    name : {"canny", "lineart", "openpose"}
        What to find.
    picture : Tensor of uint8, shape (batch, height, width, 3)
        sRGB pictures, as from :func:`~barelens.imaging.display.to_display`.
    weights : path or str, optional
        Folder or hub id of the annotator's weights; only poses need any.

    Returns
    -------
    Tensor of float32, shape (batch, 3, height, width)
        In [0, 1], as ControlNets expect it.

    Raises
    ------
    ImportError
        controlnet_aux or its torchvision does not load; the message says what to do.
    TypeError, ValueError
        The picture is not of 8 bits or of another shape, or there is no such annotator.
    """
    if name not in ANNOTATORS:
        known = ", ".join(ANNOTATORS)
        raise ValueError(f"unknown annotator {name!r}; choose one of: {known}")
    if picture.dtype != torch.uint8:
        raise TypeError(f"picture must be uint8, got {picture.dtype}")
    if picture.ndim != 4 or picture.shape[-1] != 3:
        raise ValueError(
            f"picture must have shape (batch, height, width, 3), got {tuple(picture.shape)}"
        )
    height, width = picture.shape[1:3]
    detector = _detector(name, None if weights is None else str(weights))
    found = [detector(item.cpu().numpy(), min(height, width)) for item in picture]
    maps = torch.from_numpy(np.stack([_sized(item, height, width) for item in found]))
    return maps.movedim(-1, 1).to(picture.device, torch.float32) / 255


def load_controlnet(
    model: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Any:
    """Load a diffusers ControlNet that understands an annotation.

    Parameters
    ----------
    model : path or str
        Its folder or hub id; it must be made for the refiner's base model.
    dtype, device : optional
        Those of the refiner.
    """
    network = need_diffusers().ControlNetModel.from_pretrained(
        model, torch_dtype=dtype, use_safetensors=True
    )
    return network.to(device).eval().requires_grad_(False)


@cache
def _detector(
    name: str, weights: str | None
) -> Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]:
    """Load a detector once: from an array and the side to work at, to an array."""
    try:
        import controlnet_aux
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another torch's
        raise ImportError(f"{_LOST} ({error})") from error
    kind, home, sides = ANNOTATORS[name]
    detector: Any = getattr(controlnet_aux, kind)
    loaded = detector() if home is None else detector.from_pretrained(weights or home)

    def detect(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        # By default they would work at 512 pixels, whatever the picture's size.
        found = loaded(picture, output_type="np", **dict.fromkeys(sides, side))
        return np.asarray(found, dtype=np.uint8)

    return detect


def _sized(annotation: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    import cv2

    if annotation.shape[:2] == (height, width):
        return annotation
    resized: Any = cv2.resize(annotation, (width, height), interpolation=cv2.INTER_AREA)
    return resized
