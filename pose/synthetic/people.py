"""Pictures of people who do not exist, with everything about them known."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...imaging.files.colour import linear_to_srgb
from .backgrounds import sample_background
from .bodies import BodyModel, load_body_model, vertex_normals
from .camera import PinholeCamera, View, frame_person, look_at
from .poses import sample_pose
from .raster import Fragments, rasterise
from .shading import fold_normals, sample_light
from .wardrobe import Outfit, dress

__all__ = ["HIDDEN", "OUTSIDE", "VISIBLE", "PersonSample", "render_person"]

OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2

_FINER = 2  # pixels of the shaded picture along one of the crop
# How deep under the surface a keypoint may lie, in metres, and still count as seen.
_FLESH = 0.13
# Where the picture may end below, as heights on the body at rest, with how often it does.
_CUTS = {-9.0: 0.68, -0.45: 0.07, -0.15: 0.09, 0.05: 0.09, 0.3: 0.07}
_UPRIGHT = ("standing", "walking", "gesturing", "sitting")


@dataclass(frozen=True, eq=False)
class PersonSample:
    """A crop of a synthetic person with its labels.

    Attributes
    ----------
    image : Tensor of uint8, shape (3, height, width)
        Display-encoded RGB.
    keypoints : Tensor, shape (keypoints, 2)
        x and y in pixels; the centre of the first pixel is (0, 0).
    visibility : Tensor of uint8, shape (keypoints,)
        ``OUTSIDE`` of the picture, ``HIDDEN`` behind something, or ``VISIBLE``.
    parts : Tensor of uint8, shape (height, width)
        Number in :data:`PARTS`, 0 for the background.
    depth : Tensor, shape (height, width)
        Distance along the optical axis in metres; NaN where the person is not.
    normals : Tensor, shape (3, height, width)
        Unit vectors: x to the right, y up, z towards the camera; zero where the person is not.
    box : Tensor, shape (4,)
        Left, top, right and bottom of the person in pixels.
    camera : PinholeCamera
        That saw it.
    keypoints_m : Tensor, shape (keypoints, 3)
        In the camera's axes, in metres.
    family : str
        Kind of pose.
    """

    image: Tensor
    keypoints: Tensor
    visibility: Tensor
    parts: Tensor
    depth: Tensor
    normals: Tensor
    box: Tensor
    camera: PinholeCamera
    keypoints_m: Tensor
    family: str


@torch.no_grad()
def render_person(
    index: int,
    *,
    seed: int = 0,
    size: tuple[int, int] = (256, 192),
    body: BodyModel | None = None,
) -> PersonSample:
    """Make one person: shape, pose, clothes, light, camera and background all drawn anew.

    Parameters
    ----------
    index : int
        Which person; the same index and seed give the same person, bit by bit.
    seed : int
        Of the whole set: people of different seeds have nothing in common.
    size : (int, int)
        Height and width of the crop.
    body : BodyModel, optional
        To use instead of the one :func:`load_body_model` returns.

    Raises
    ------
    ImportError
        The package `anny` is not installed.
    """
    body = body or load_body_model()
    random = np.random.default_rng([seed, index])
    family, rotations = sample_pose(random, body.joints)
    posed = body.pose(_shape(random), rotations)
    outfit = dress(random, body)
    normals = vertex_normals(posed.vertices, outfit.faces)
    vertices = posed.vertices + outfit.thickness_m[:, None] * normals
    normals = vertex_normals(vertices, outfit.faces)
    view = _view(random, body, vertices, outfit, family, size)
    surface = _Surface(vertices, normals, body.template, outfit, view.camera)
    keypoints_m = view.camera.to_camera(posed.keypoints)
    parts, depth, facing = _labels(surface, size)
    occluder = _occluder(random, view, size)
    image = _picture(random, surface, view, occluder, size)
    hidden = occluder | _outside(view, size)
    keypoints = view.camera.project(keypoints_m)
    return PersonSample(
        image=image,
        keypoints=keypoints,
        visibility=_visibility(keypoints, keypoints_m[:, 2], depth, occluder, view, size),
        parts=parts.masked_fill(hidden, 0),
        depth=depth.masked_fill(hidden, torch.nan),
        normals=facing.masked_fill(hidden, 0),
        box=view.box,
        camera=view.camera,
        keypoints_m=keypoints_m,
        family=family,
    )


@dataclass(frozen=True, eq=False)
class _Surface:
    """A dressed body before a camera."""

    vertices: Tensor
    normals: Tensor
    rest: Tensor
    outfit: Outfit
    camera: PinholeCamera

    def seen(self, factor: int, size: tuple[int, int]) -> Fragments:
        """Find what is seen with ``factor`` times the pixels of a picture of that size."""
        camera = self.camera.scaled(factor)
        points = camera.to_camera(self.vertices)
        return rasterise(
            camera.project(points),
            points[:, 2],
            self.outfit.faces,
            (factor * size[0], factor * size[1]),
            two_sided=self.outfit.two_sided,
        )

    def facing_normals(self, fragments: Fragments) -> tuple[Tensor, Tensor]:
        """Return normals and directions towards the camera, (seen pixels, 3), y up and z back.

        Cloth seen from behind has its normals turned; an interpolated one that points away at an
        outline is brought back to it.
        """
        faces = self.outfit.faces
        axes = self.camera.rotation.mT * torch.tensor([1.0, -1.0, -1.0])
        normals = F.normalize(fragments.interpolate(self.normals @ axes, faces), dim=1)
        points = fragments.interpolate(self.vertices - self.camera.position, faces)
        towards = -F.normalize(points @ axes, dim=1)
        behind = _turned_away(self.vertices, faces, self.camera)[fragments.face[fragments.mask]]
        normals = torch.where(behind[:, None], -normals, normals)
        away = (normals * towards).sum(dim=1, keepdim=True).clamp(max=0)
        return F.normalize(normals - away * towards, dim=1), towards


def _turned_away(vertices: Tensor, faces: Tensor, camera: PinholeCamera) -> Tensor:
    """Whether the camera sees each triangle from behind."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    across = torch.linalg.cross(second - first, third - first)
    return (across * (first - camera.position)).sum(dim=1) > 0


def _shape(random: np.random.Generator) -> Tensor:
    """Draw gender, age, muscle, weight, height and proportions; one in eight is a child."""
    gender = random.beta(0.5, 0.5)
    age = random.uniform(0.3, 0.6) if random.random() < 0.12 else random.uniform(0.6, 1.0)
    others = random.beta(2.0, 2.0, 4)
    return torch.tensor([gender, age, *others], dtype=torch.float32)


def _view(
    random: np.random.Generator,
    body: BodyModel,
    vertices: Tensor,
    outfit: Outfit,
    family: str,
    size: tuple[int, int],
) -> View:
    used = torch.zeros(len(vertices), dtype=torch.bool)
    used[outfit.faces] = True
    cut = -9.0
    if family in _UPRIGHT:
        cut = float(random.choice(list(_CUTS), p=list(_CUTS.values())))
    core = body.template[used, 0].abs() < 0.2
    lowest = (body.template[used, 2] > cut) & core if cut > -9 else torch.ones_like(core)
    seen = vertices[used]
    target = seen[lowest].mean(dim=0)
    distance = float(np.exp(random.uniform(np.log(2.0), np.log(8.0))))
    if cut > -9:
        distance *= 0.6
    camera = look_at(random, target, distance)
    return frame_person(random, camera, seen, lowest, size)


def _labels(surface: _Surface, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    fragments = surface.seen(1, size)
    parts = torch.zeros(size, dtype=torch.uint8)
    parts[fragments.mask] = surface.outfit.part[fragments.face[fragments.mask]].to(torch.uint8)
    normals = torch.zeros(*size, 3)
    normals[fragments.mask], _ = surface.facing_normals(fragments)
    return parts, fragments.depth, normals.permute(2, 0, 1)


def _picture(
    random: np.random.Generator,
    surface: _Surface,
    view: View,
    occluder: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """Shade the person finely, average, and put it before one background and behind another."""
    outfit = surface.outfit
    fragments = surface.seen(_FINER, size)
    normals, towards = surface.facing_normals(fragments)
    place = fragments.interpolate(surface.rest, outfit.faces)
    material = outfit.material[fragments.face[fragments.mask]]
    normals = fold_normals(random, normals, place, material)
    albedo = outfit.pattern.colours(material, place)
    colours = linear_to_srgb(sample_light(random).shade(albedo, normals, towards).clamp(0, 1))
    fine = torch.zeros(*fragments.face.shape, 4)
    fine[fragments.mask] = F.pad(colours, (0, 1), value=1.0)
    averaged = F.avg_pool2d(fine.permute(2, 0, 1), _FINER)
    person, share = averaged[:3], averaged[3:]
    picture = person + (1 - share) * sample_background(random, size)
    if bool(occluder.any()):
        picture = torch.where(occluder, sample_background(random, size), picture)
    picture = picture.masked_fill(_outside(view, size), 0)
    return (picture * 255).round().clamp(0, 255).to(torch.uint8)


def _occluder(random: np.random.Generator, view: View, size: tuple[int, int]) -> Tensor:
    """Choose where something stands before the person; in four of five pictures nowhere."""
    if random.random() >= 0.2:
        return torch.zeros(size, dtype=torch.bool)
    x, y = _grid(size)
    box = view.box.numpy()
    centre = box[:2] + random.random(2) * (box[2:] - box[:2])
    reach = random.uniform(0.06, 0.25, 2) * (box[2:] - box[:2])
    across, down = (x - float(centre[0])) / reach[0], (y - float(centre[1])) / reach[1]
    if random.random() < 0.5:
        return across**2 + down**2 < 1
    return torch.maximum(across.abs(), down.abs()) < 1


def _outside(view: View, size: tuple[int, int]) -> Tensor:
    """Where the crop reaches out of the picture it was cut from."""
    x, y = _grid(size)
    left, top, right, bottom = view.picture
    return (x < left) | (x > right) | (y < top) | (y > bottom)


def _grid(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return x, y


def _visibility(
    keypoints: Tensor,
    distance: Tensor,
    depth: Tensor,
    occluder: Tensor,
    view: View,
    size: tuple[int, int],
) -> Tensor:
    """Compare keypoints with what the camera sees at their pixel."""
    limit = torch.tensor([size[1] - 1.0, size[0] - 1.0])
    low = torch.maximum(view.picture[:2], torch.zeros(2))
    high = torch.minimum(view.picture[2:], limit)
    inside = ((keypoints >= low) & (keypoints <= high)).all(dim=1)
    column, row = torch.minimum(keypoints.round().clamp(min=0), limit).long().unbind(dim=1)
    surface = depth[row, column]
    covered = occluder[row, column] | (surface < distance - _FLESH)
    visibility = torch.where(covered, HIDDEN, VISIBLE)
    return torch.where(inside, visibility, OUTSIDE).to(torch.uint8)
