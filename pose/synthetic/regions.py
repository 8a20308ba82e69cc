"""Places on the body at rest, by which clothes are cut and parts are named."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .bodies import BodyModel
from .materials import Material

__all__ = ["PARTS", "Regions", "body_regions"]

_LIMBS = ("Foot", "Hand", "Lower_Arm", "Lower_Leg", "Upper_Arm", "Upper_Leg")

PARTS = (
    "Background", "Face_Neck", "Hair", "Torso", "Upper_Clothing", "Lower_Clothing",
    *(f"{side}_{limb}" for side in ("Left", "Right") for limb in _LIMBS),
)  # fmt: skip
"""Names of the parts, of those of Sapiens; shoes and socks count as feet."""

_LIMB_BONES = {
    "Foot": ("foot", "toe"),
    "Hand": ("wrist", "metacarpal", "finger"),
    "Lower_Arm": ("lowerarm",),
    "Lower_Leg": ("lowerleg",),
    "Upper_Arm": ("upperarm",),
    "Upper_Leg": ("upperleg",),
}
_TORSO_BONES = ("root", "pelvis", "spine", "breast", "clavicle", "shoulder")


@dataclass(frozen=True, eq=False)
class Regions:
    """Places on the body at rest, for each vertex.

    ``limb`` is the number in PARTS of bare skin there; ``sleeve`` goes from 0 at the shoulder to 1
    at the wrist and ``trouser`` from 0 at the hip to 1 at the ankle, and both are infinite
    elsewhere; ``neckline`` is the distance from the root of the neck in metres, and ``scalp`` is
    high on the skull and low on the face; ``face`` holds :class:`Material` of lips, brows and eyes.
    """

    limb: Tensor
    height: Tensor
    sleeve: Tensor
    trouser: Tensor
    neckline: Tensor
    scalp: Tensor
    face: Tensor


@cache
def body_regions(body: BodyModel) -> Regions:
    """Return the places on a body, found once."""
    place = body.template
    limb = _limbs(body)
    eye, neck = body.joints["eye.L"], body.joints["neck01"]
    front, height = place[:, 1], place[:, 2]
    root = neck - torch.tensor([0.0, 0.0, 0.05])
    return Regions(
        limb=limb,
        height=height,
        sleeve=_along(body, limb, "Arm", ("upperarm01", "lowerarm01", "wrist")),
        trouser=_along(body, limb, "Leg", ("upperleg01", "lowerleg01", "foot")),
        neckline=(place - root).norm(dim=1),
        scalp=(height - eye[2]) / 0.1 + (front - eye[1]) / 0.12,
        face=_face_materials(body),
    )


def _limbs(body: BodyModel) -> Tensor:
    """Name the part of bare skin around each bone, and from it at each vertex."""
    parts = []
    for bone in body.bones:
        name = "Face_Neck"
        if bone.startswith(_TORSO_BONES):
            name = "Torso"
        for limb, beginnings in _LIMB_BONES.items():
            if bone.startswith(beginnings):
                name = f"{'Left' if bone.endswith('.L') else 'Right'}_{limb}"
        parts.append(PARTS.index(name))
    return torch.tensor(parts)[body.bone_of]


def _along(body: BodyModel, limb: Tensor, kind: str, chain: tuple[str, str, str]) -> Tensor:
    """Return the way along arms or legs, 0 to 0.5 on the upper part and on to 1 on the lower."""
    along = torch.full(limb.shape, torch.inf)
    for letter, side in (("L", "Left"), ("R", "Right")):
        joints = [body.joints[f"{bone}.{letter}"] for bone in chain]
        for half, name in enumerate((f"{side}_Upper_{kind}", f"{side}_Lower_{kind}")):
            own = limb == PARTS.index(name)
            axis = joints[half + 1] - joints[half]
            share = ((body.template[own] - joints[half]) @ axis / (axis @ axis)).clamp(0, 1)
            along[own] = (half + share) / 2
    return along


def _face_materials(body: BodyModel) -> Tensor:
    """Mark eyes, irises, brows and lips."""
    side, front, height = body.template.unbind(dim=1)
    eye = body.joints["eye.L"]
    material = torch.full((len(side),), int(Material.SKIN))
    bones = [index for index, bone in enumerate(body.bones) if bone.startswith("eye.")]
    drawn = torch.zeros(len(side), dtype=torch.bool)
    drawn[body.faces] = True  # some vertices only mark where the eyes look
    eyeball = torch.isin(body.bone_of, torch.tensor(bones)) & drawn
    material[eyeball] = Material.EYES
    material[eyeball & (front < front[eyeball].amin() + 0.005)] = Material.IRIS
    before = (front < eye[1]) & (body.bone_of == body.bones.index("head"))
    brow = (height - eye[2] - 0.024).abs() < 0.006
    material[before & brow & (side.abs() > 0.012) & (side.abs() < 0.05)] = Material.BROWS
    mouth = ((height - eye[2] + 0.07) / 0.011).square() + (side / 0.026).square() < 1
    material[before & mouth] = Material.LIPS
    return material
