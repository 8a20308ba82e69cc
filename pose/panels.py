"""One picture of all that was found."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .outputs import HumanOutput
from .overlay import draw_depth, draw_masks, draw_normals, draw_parts, draw_people, side_by_side
from .support import draw_support

__all__ = ["PANELS", "draw_output", "known_panels"]

#: What can be drawn, in the order in which it is.
PANELS = ("keypoints", "parts", "masks", "normals", "depth", "scene_depth", "support")


def known_panels(output: HumanOutput) -> tuple[str, ...]:
    """Which panels there is something for."""
    people = output.people
    known = {
        "keypoints": any(person.keypoints is not None for person in people),
        "parts": output.class_map is not None,
        # Masks that come from the parts say nothing new.
        "masks": output.class_map is None and any(person.mask is not None for person in people),
        "normals": output.normals is not None,
        "depth": output.depth is not None,
        "scene_depth": output.scene_depth is not None,
        "support": output.measured_share is not None,
    }
    return tuple(panel for panel in PANELS if known[panel])


def draw_output(
    image: Tensor,
    output: HumanOutput,
    *,
    panels: Sequence[str] | None = None,
    min_score: float = 0.3,
) -> Tensor:
    """Draw what is known of a picture, side by side.

    Parameters
    ----------
    image : Tensor of uint8, shape (height, width, 3)
        The picture, display-encoded RGB.
    output : HumanOutput
        What was found in it, on any device.
    panels : sequence of str, optional
        Of :data:`PANELS`; those there is something for where not given. In a video every frame
        must have the same.
    min_score : float
        Least score of a keypoint to be drawn.

    Returns
    -------
    Tensor of uint8, shape (height, panels * width + gaps, 3)
    """
    chosen = known_panels(output) if panels is None else panels
    drawn = [_draw(panel, image, output, min_score) for panel in chosen]
    return side_by_side(drawn or [image])


def _draw(panel: str, image: Tensor, output: HumanOutput, min_score: float) -> Tensor:
    nothing = torch.full(image.shape[:2], torch.nan)
    if panel == "keypoints":
        return draw_people(image, output, min_score=min_score)
    if panel == "parts":
        if output.class_map is None or output.parts is None:
            return image
        return draw_parts(image, output.class_map, classes=output.parts)
    if panel == "masks":
        return draw_masks(image, output.people)
    if panel == "normals":
        normals = output.normals
        return draw_normals(nothing.expand(3, -1, -1) if normals is None else normals)
    if panel == "depth":
        depth = output.depth
        return draw_depth(nothing if depth is None else depth, mask=output.mask, invert=True)
    if panel == "scene_depth":
        depth = output.scene_depth
        return draw_depth(nothing if depth is None else depth, invert=output.scene_depth_metric)
    if panel == "support":
        return draw_support(image, output, min_score=min_score)
    raise ValueError(f"unknown panel {panel!r}; choose of: {', '.join(PANELS)}")
