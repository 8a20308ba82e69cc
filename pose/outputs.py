"""What is known of the people in a picture."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from .labels import KeypointLayout, PartLabels

__all__ = ["HumanOutput", "Person"]


class _Movable:
    """Records of tensors that can go to another device."""

    def to(self, device: torch.device | str) -> Self:
        """Return the same record with its tensors on another device."""
        moved = {
            field.name: _moved(getattr(self, field.name), device)
            for field in fields(self)  # type: ignore[arg-type]
        }
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Person(_Movable):
    """One person in a picture; what was not asked for is None.

    Attributes
    ----------
    box : Tensor, shape (4,)
        Left, top, right and bottom in pixels.
    box_score : float
        Of the detector, in [0, 1]; 1 for a box that was given, 0 for a whole picture in which
        the detector found nobody.
    keypoints : Tensor or None, shape (keypoints, 2)
        x and y in pixels of the picture.
    keypoint_scores : Tensor or None, shape (keypoints,)
        About 1 for a sure point, 0 where there is none.
    keypoint_support : Tensor or None, shape (keypoints,)
        How much of the picture around each was measured by the camera, in [0, 1], NaN where there
        is nothing to tell; see :func:`~barelens.pose.with_support`.
    mask : Tensor of bool or None, shape (height, width)
        Where the person is.
    track : int or None
        The same number for the same person through a video.
    """

    box: Tensor
    box_score: float = 1.0
    keypoints: Tensor | None = None
    keypoint_scores: Tensor | None = None
    keypoint_support: Tensor | None = None
    mask: Tensor | None = None
    track: int | None = None

    @property
    def score(self) -> float:
        """Box score times the mean score of the keypoints that were found, as COCO ranks."""
        if self.keypoint_scores is None:
            return self.box_score
        found = self.keypoint_scores[self.keypoint_scores > 0]
        return self.box_score * float(found.mean()) if found.numel() else 0.0


@dataclass(frozen=True, eq=False)
class HumanOutput(_Movable):
    """All that was found in one picture; what was not asked for is None.

    Attributes
    ----------
    image_size : (int, int)
        Height and width of the picture in pixels.
    people : tuple of Person
        In the order of the boxes; one for the whole picture where there were no boxes.
    layout : KeypointLayout or None
        What the people's keypoints are.
    class_map : Tensor of uint8 or None, shape (height, width)
        Part of each pixel, 0 for the background.
    parts : PartLabels or None
        Names and colours of the values of ``class_map``.
    depth : Tensor or None, shape (height, width)
        Of the people: relative, without scale or origin; NaN where the model did not look.
    normals : Tensor or None, shape (3, height, width)
        Unit vectors in image coordinates; zero where the model did not look.
    points : Tensor or None, shape (3, height, width)
        X to the right, Y down, Z forward, in metres.
    albedo : Tensor or None, shape (3, height, width)
        Colour of the surface without light and shade.
    scene_depth : Tensor or None, shape (height, width)
        Of everything in the picture, from :class:`~barelens.pose.surroundings.SceneDepth`.
    scene_depth_metric : bool
        Whether that is in metres; otherwise it is inverse, higher where things are nearer, without
        scale or origin.
    alpha, foreground : Tensor or None, shapes (height, width), (3, height, width)
        Share of the people in each pixel, and their colour times that share, in [0, 1].
    measured_share : Tensor or None, shape (height, width)
        How much of each pixel's contrast the camera measured, in [0, 1], NaN where there is none;
        see :func:`~barelens.pose.with_support`.
    """

    image_size: tuple[int, int]
    people: tuple[Person, ...] = ()
    layout: KeypointLayout | None = None
    class_map: Tensor | None = None
    parts: PartLabels | None = None
    depth: Tensor | None = None
    normals: Tensor | None = None
    points: Tensor | None = None
    albedo: Tensor | None = None
    scene_depth: Tensor | None = None
    scene_depth_metric: bool = False
    alpha: Tensor | None = None
    foreground: Tensor | None = None
    measured_share: Tensor | None = None

    @property
    def classes(self) -> int | None:
        """How many parts the model tells apart."""
        return None if self.parts is None else len(self.parts)

    @property
    def mask(self) -> Tensor | None:
        """Where any person is, from the parts or the matte; bool, shape (height, width)."""
        if self.class_map is not None:
            return self.class_map > 0
        return None if self.alpha is None else self.alpha > 0.5


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor | _Movable):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return value
