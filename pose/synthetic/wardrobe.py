"""Clothes and hair: which triangle of a body is of what."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bodies import BodyModel
from .materials import Material, Pattern, sample_pattern
from .regions import PARTS, Regions, body_regions

__all__ = ["Outfit", "dress"]

_SKIRT, _LONG_HAIR = 1, 2  # layers of a body's triangles


@dataclass(frozen=True, eq=False)
class Outfit:
    """What a person wears.

    Attributes
    ----------
    faces : Tensor of int64, shape (faces, 3)
        Triangles that are there: without skirt or long hair that the person has not.
    two_sided : Tensor of bool, shape (faces,)
        Of skirt and long hair.
    material, part : Tensor of int64, shape (faces,)
        :class:`Material` and number in :data:`PARTS` of each triangle.
    thickness_m : Tensor, shape (vertices,)
        How far cloth and hair stand off the body.
    pattern : Pattern
        Colours.
    """

    faces: Tensor
    two_sided: Tensor
    material: Tensor
    part: Tensor
    thickness_m: Tensor
    pattern: Pattern


def dress(random: np.random.Generator, body: BodyModel) -> Outfit:
    """Draw clothes, hair and colours.

    Everyone wears something below, and almost everyone above; sleeves, trousers and skirts come
    in every length.

    Parameters
    ----------
    random : numpy Generator
        Where chance comes from.
    body : BodyModel
        Whose triangles to dress.
    """
    regions = body_regions(body)
    material = regions.face.clone()
    hairline = random.uniform(0.7, 1.05) if random.random() > 0.08 else np.inf
    hair = (regions.scalp > hairline) & (regions.limb == PARTS.index("Face_Neck"))
    material[hair & (material == Material.SKIN)] = Material.HAIR
    skirt = random.random() < 0.18
    for garment, covered in (
        (Material.LOWER, _lower(random, regions, under_skirt=skirt)),
        (Material.UPPER, _upper(random, regions)),
        (Material.SHOES, _shoes(random, regions)),
    ):
        material[covered] = garment
    kept = body.layer == 0
    if skirt:
        kept |= _cut(body, _SKIRT, random.uniform(-0.72, -0.2))
    if np.isfinite(hairline) and random.random() < 0.35:
        kept |= _cut(body, _LONG_HAIR, random.uniform(0.22, 0.55))
    faces, layer = body.faces[kept], body.layer[kept]
    face_material = material[faces].median(dim=1).values
    face_material[layer == _SKIRT] = Material.LOWER
    face_material[layer == _LONG_HAIR] = Material.HAIR
    return Outfit(
        faces=faces,
        two_sided=layer > 0,
        material=face_material,
        part=_parts(face_material, regions.limb[faces[:, 0]]),
        thickness_m=_thickness(random, material, regions, hairline),
        pattern=sample_pattern(random),
    )


def _cut(body: BodyModel, layer: int, lowest: float) -> Tensor:
    """Choose the triangles of a layer that lie above a height at rest, long hair behind the ears.

    The mesh's strands before the shoulders would hide faces that bow.
    """
    front, height = (
        body.template[body.faces, 1].amin(dim=1),
        body.template[body.faces, 2].amin(dim=1),
    )
    chosen = (body.layer == layer) & (height > lowest)
    if layer == _LONG_HAIR:
        eye = body.joints["eye.L"]
        chosen &= (front > eye[1] + 0.07) | (height > eye[2] + 0.055)
    return chosen


def _upper(random: np.random.Generator, regions: Regions) -> Tensor:
    if random.random() < 0.06:
        return torch.zeros_like(regions.limb, dtype=torch.bool)
    hem = random.uniform(-0.02, 0.12) if random.random() < 0.7 else random.uniform(-0.35, 0)
    sleeve = random.choice([0.0, 0.3, 0.5, 0.97], p=[0.12, 0.38, 0.1, 0.4])
    sleeve += random.uniform(-0.08, 0.02)
    torso = regions.limb == PARTS.index("Torso")
    shirt = torso & (regions.height > hem) & (regions.neckline > random.uniform(0.05, 0.12))
    coat = (regions.trouser < np.inf) & (regions.height > hem)
    collar = (regions.limb == PARTS.index("Face_Neck")) & (regions.neckline < 0.06)
    if random.random() < 0.8:
        collar &= False
    return shirt | coat | collar | (regions.sleeve < sleeve)


def _lower(random: np.random.Generator, regions: Regions, *, under_skirt: bool) -> Tensor:
    waist = random.uniform(0.02, 0.12)
    lengths, shares = [0.3, 0.5, 0.75, 1.02], [0.2, 0.13, 0.1, 0.57]
    length = 0.2 if under_skirt else random.choice(lengths, p=shares) + random.uniform(-0.06, 0)
    torso = regions.limb == PARTS.index("Torso")
    return (torso & (regions.height < waist)) | (regions.trouser < length)


def _shoes(random: np.random.Generator, regions: Regions) -> Tensor:
    feet = [PARTS.index("Left_Foot"), PARTS.index("Right_Foot")]
    shoes = torch.isin(regions.limb, torch.tensor(feet))
    return shoes & bool(random.random() < 0.85)


def _thickness(
    random: np.random.Generator, material: Tensor, regions: Regions, hairline: float
) -> Tensor:
    metres = torch.zeros(len(Material))
    metres[Material.UPPER] = random.uniform(0.003, 0.022)
    metres[Material.LOWER] = random.uniform(0.003, 0.014)
    metres[Material.SHOES] = random.uniform(0.004, 0.012)
    metres[Material.HAIR] = random.uniform(0.004, 0.04)
    thickness = metres[material]
    ramp = ((regions.scalp - hairline) / 0.5).clamp(0, 1) if np.isfinite(hairline) else 1.0
    return torch.where(material == Material.HAIR, thickness * ramp, thickness)


def _parts(material: Tensor, limb: Tensor) -> Tensor:
    part = limb.clone()
    for garment, name in (
        (Material.HAIR, "Hair"),
        (Material.UPPER, "Upper_Clothing"),
        (Material.LOWER, "Lower_Clothing"),
    ):
        part[material == garment] = PARTS.index(name)
    return part
