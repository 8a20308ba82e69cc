"""Where the camera stands, and which part of its picture is the crop of the person."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..crops import boxes_to_frames

__all__ = ["PinholeCamera", "View", "frame_person", "look_at"]


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """A camera without distortion whose picture may be a part of a larger one.

    Attributes
    ----------
    rotation : Tensor, shape (3, 3)
        From the world's axes to the camera's: x to the right, y down, z forward.
    position : Tensor, shape (3,)
        In the world, in metres.
    focal_px, principal_px : Tensor, shape (2,)
        Along x and y; the centre of the first pixel is (0, 0).
    """

    rotation: Tensor
    position: Tensor
    focal_px: Tensor
    principal_px: Tensor

    def to_camera(self, points: Tensor) -> Tensor:
        """Map points (..., 3) in the world to the camera's axes, in metres."""
        return (points - self.position) @ self.rotation.mT

    def project(self, points: Tensor) -> Tensor:
        """Map points (..., 3) in the camera's axes to pixels (..., 2)."""
        return points[..., :2] / points[..., 2:] * self.focal_px + self.principal_px

    def scaled(self, factor: int) -> "PinholeCamera":
        """Return the camera of the same picture with ``factor`` times the pixels each way."""
        # The centre of the first large pixel is in the middle of factor small ones.
        shift = (factor - 1) / 2
        return PinholeCamera(
            self.rotation,
            self.position,
            factor * self.focal_px,
            factor * self.principal_px + shift,
        )


@dataclass(frozen=True, eq=False)
class View:
    """A camera with what its picture shows.

    Attributes
    ----------
    camera : PinholeCamera
        Of the crop.
    box : Tensor, shape (4,)
        Left, top, right and bottom of the person in pixels of the crop.
    picture : Tensor, shape (4,)
        The same of the picture that the crop was cut from; the crop is black outside.
    """

    camera: PinholeCamera
    box: Tensor
    picture: Tensor


def look_at(random: np.random.Generator, target: Tensor, distance_m: float) -> PinholeCamera:
    """Place a camera at a distance from a point, mostly before the person and about level.

    Its focal length is 1 pixel, to be changed by :func:`frame_person`.
    """
    azimuth = random.normal(0, 50) if random.random() < 0.6 else random.uniform(-180, 180)
    elevation, roll = random.normal(5, 12), random.normal(0, 5)
    azimuth, elevation, roll = np.radians([azimuth, elevation, roll])
    backward = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.cos(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    right = np.cross(-backward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(-backward, right)
    turned = np.stack(
        [np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right]
    )
    rotation = torch.from_numpy(np.stack([*turned, -backward])).float()
    position = target + distance_m * torch.from_numpy(backward).float()
    return PinholeCamera(rotation, position, torch.ones(2), torch.zeros(2))


def frame_person(
    random: np.random.Generator,
    camera: PinholeCamera,
    vertices: Tensor,
    lowest: Tensor,
    size: tuple[int, int],
    *,
    padding: float = 1.25,
) -> View:
    """Choose the crop as a detector's box, padded and grown to the proportion, would give it.

    Parameters
    ----------
    random : numpy Generator
        For the detector's error, and for where the picture ends.
    camera : PinholeCamera
        From :func:`look_at`.
    vertices : Tensor, shape (vertices, 3)
        Of the person, in the world.
    lowest : Tensor of bool, shape (vertices,)
        Vertices of the trunk and legs down to where the picture shall end; all to show the whole
        person.
    size : (int, int)
        Height and width of the crop.
    padding : float
        As in :func:`~barelens.pose.crops.boxes_to_frames`.
    """
    flat = camera.project(camera.to_camera(vertices))
    whole = bool(lowest.all())
    bottom = flat[lowest, 1].amax()
    shown = flat[flat[:, 1] <= bottom]
    low, high = shown.amin(dim=0), shown.amax(dim=0)
    spread = high - low
    edges = torch.cat([low, high])
    error = torch.from_numpy(random.normal(0, 0.03, 4)).float() * spread.repeat(2)
    frame = boxes_to_frames(edges + error, size[1] / size[0], padding=padding)
    steps = torch.tensor([size[1] - 1.0, size[0] - 1.0])
    focal = steps / frame.scales
    principal = -frame.corners * focal
    pixels = focal.repeat(2) * edges + principal.repeat(2)
    cropped = PinholeCamera(camera.rotation, camera.position, focal, principal)
    return View(cropped, pixels, _picture_edges(random, pixels, ends_at_person=not whole))


def _picture_edges(random: np.random.Generator, box: Tensor, *, ends_at_person: bool) -> Tensor:
    """Choose where the picture ends: far away, near the person, or right below what is shown."""
    far = 1e4
    edges = torch.tensor([-far, -far, far, far])
    size = (box[2:] - box[:2]).repeat(2)
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    near = torch.from_numpy(random.random(4) < 0.12)
    margins = torch.from_numpy(random.uniform(-0.05, 0.12, 4)).float() * size
    edges = torch.where(near, box + outward * margins, edges)
    if ends_at_person and random.random() < 0.7:
        edges[3] = box[3]
    return edges
