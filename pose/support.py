"""How much of what people are read from was measured, where the picture is a reconstruction."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..imaging.shapes import check_shape
from ..imaging.trust import overlay_invented, support_measured
from .outputs import HumanOutput, Person

__all__ = ["draw_support", "part_support", "with_support"]

_RIM = (16, 18, 24)
_MEASURED, _INVENTED, _UNKNOWN = (245, 245, 245), (213, 94, 0), (0, 114, 178)


def with_support(
    output: HumanOutput, measured_share: Tensor, *, reach: float = 0.03
) -> HumanOutput:
    """Say of every pixel and keypoint how much of the picture there was measured.

    A keypoint that a model reads where the picture was invented is a guess about a guess, however
    sure the model is of it.

    Parameters
    ----------
    output : HumanOutput
        What was found in a reconstructed or refined picture.
    measured_share : Tensor, shape (height, width)
        Share of each pixel's contrast that the camera measured, in [0, 1]; NaN where there is no
        contrast. As from :meth:`~barelens.imaging.trust.Split.share_map`.
    reach : float, optional
        Radius around a keypoint over the longer side of the person's box, over 0; it is at least
        1.5 pixels.

    Returns
    -------
    HumanOutput
        The same with ``measured_share``, and ``keypoint_support`` of every person.

    Raises
    ------
    ShapeError
        The map does not have the picture's size.
    ValueError
        The reach is not positive.
    """
    check_shape(measured_share, output.image_size, "measured_share")
    if not reach > 0:
        raise ValueError(f"reach must be positive, got {reach}")
    people = tuple(_supported(person, measured_share, reach) for person in output.people)
    return replace(output, people=people, measured_share=measured_share)


def _supported(person: Person, measured_share: Tensor, reach: float) -> Person:
    if person.keypoints is None:
        return person
    left, top, right, bottom = person.box.tolist()
    radius = max(1.5, reach * max(right - left, bottom - top))
    support = support_measured(measured_share.to(person.keypoints), person.keypoints, radius)
    return replace(person, keypoint_support=support)


def part_support(output: HumanOutput) -> dict[str, float]:
    """Mean measured share of each body part that is in the picture, by its name.

    Parts without any contrast to speak of are left out, and all of them where the output has no
    parts or no ``measured_share``.
    """
    share, parts, class_map = output.measured_share, output.parts, output.class_map
    if share is None or parts is None or class_map is None:
        return {}
    means = {
        parts.names[index]: float(share[class_map == index].nanmean())
        for index in class_map.flatten().bincount().nonzero().flatten().tolist()
    }
    return {name: mean for name, mean in means.items() if mean == mean}


def draw_support(image: Tensor, output: HumanOutput, *, min_score: float = 0.3) -> Tensor:
    """Draw keypoints from white, measured, to vermillion, invented, over the picture alike.

    Parameters
    ----------
    image : Tensor of uint8, shape (height, width, 3)
        The picture, display-encoded RGB; it is not changed.
    output : HumanOutput
        From :func:`with_support`; without, the picture comes back as it is.
    min_score : float
        Least score of a point to be drawn.

    Returns
    -------
    Tensor of uint8, shape (height, width, 3)
    """
    import cv2

    if output.measured_share is None:
        return image
    share = output.measured_share.to(image.device)
    pixels = np.ascontiguousarray(overlay_invented(image, share, legend=False).cpu().numpy())
    for person in output.people:
        if person.keypoints is None or person.keypoint_support is None:
            continue
        box = person.box.tolist()
        radius = max(2, round(max(box[2] - box[0], box[3] - box[1]) / 90))
        found = person.keypoints.isfinite().all(-1)
        if person.keypoint_scores is not None:
            found &= person.keypoint_scores >= min_score
        for index in found.nonzero().flatten().tolist():
            x, y = person.keypoints[index].tolist()
            centre = round(x), round(y)
            cv2.circle(pixels, centre, radius + 1, _RIM, -1, cv2.LINE_AA)
            paint = _paint(float(person.keypoint_support[index]))
            cv2.circle(pixels, centre, radius, paint, -1, cv2.LINE_AA)
    return torch.from_numpy(pixels)


def _paint(support: float) -> tuple[int, int, int]:
    if support != support:
        return _UNKNOWN
    red, green, blue = (
        round(support * high + (1 - support) * low)
        for high, low in zip(_MEASURED, _INVENTED, strict=True)
    )
    return red, green, blue
