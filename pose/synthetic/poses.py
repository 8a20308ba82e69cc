"""Plausible poses: joint angles drawn from families such as standing, walking and sitting."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["FAMILIES", "PoseFamily", "rotation", "sample_pose"]

Range = tuple[float, float]
Vector = NDArray[np.float64]
Rotations = dict[str, Vector]

_MIRROR = np.diag([-1.0, 1.0, 1.0])
_X, _Y, _Z = np.eye(3)


@dataclass(frozen=True)
class _Arm:
    """Ranges of an arm in degrees.

    Attributes
    ----------
    lift : (float, float)
        Of the upper arm from hanging straight down.
    azimuth : (float, float)
        Of its direction: 0 to the side, 90 to the front.
    twist : (float, float)
        About its own axis; positive turns the forearm inwards.
    elbow : (float, float)
        0 is a straight arm.
    """

    lift: Range
    azimuth: Range
    twist: Range
    elbow: Range


_ARMS = {
    "down": _Arm((4, 24), (-40, 80), (-20, 40), (4, 45)),
    "hip": _Arm((30, 55), (-30, 10), (40, 80), (80, 115)),
    "bent": _Arm((8, 40), (0, 80), (-10, 70), (60, 135)),
    "front": _Arm((45, 105), (50, 100), (-30, 60), (0, 90)),
    "side": _Arm((50, 110), (-20, 40), (-40, 40), (0, 100)),
    "up": _Arm((115, 170), (-10, 70), (-60, 40), (0, 100)),
    "any": _Arm((5, 165), (-40, 100), (-60, 80), (0, 140)),
}


@dataclass(frozen=True)
class PoseFamily:
    """Ranges of a kind of pose, in degrees.

    Attributes
    ----------
    share : float
        How often it is drawn, against the shares of the others.
    hip, knee : (float, float)
        Flexion of each leg; 0 is straight.
    spread : (float, float)
        Of each leg to its side.
    bend : (float, float)
        Of the trunk to the front.
    arms : mapping of str to float
        Shares of the ways to hold an arm.
    together : bool
        Whether both legs do about the same, as in sitting.
    lying : bool
        Whether the body lies, on any side.
    """

    share: float
    hip: Range
    knee: Range
    spread: Range
    bend: Range
    arms: Mapping[str, float]
    together: bool = False
    lying: bool = False


_CALM = {"down": 5, "hip": 1, "bent": 2, "front": 1, "side": 1, "up": 0.7, "any": 1.5}
_BUSY = {"down": 1, "bent": 1.5, "front": 2, "side": 1, "up": 1, "any": 3}

FAMILIES = {
    "standing": PoseFamily(6, (-8, 12), (0, 14), (-10, 8), (-6, 12), _CALM),
    "walking": PoseFamily(
        4, (-22, 35), (0, 50), (-11, 0), (-2, 14), {"down": 4, "bent": 3, "any": 1}
    ),
    "gesturing": PoseFamily(3, (-8, 15), (0, 20), (-9, 16), (-8, 15), _BUSY),
    "sitting": PoseFamily(3, (70, 105), (55, 115), (-10, 20), (-10, 30), _CALM, together=True),
    "crouching": PoseFamily(1, (50, 125), (60, 140), (0, 30), (10, 50), _BUSY, together=True),
    "bending": PoseFamily(1, (20, 80), (0, 30), (-8, 10), (15, 60), _BUSY, together=True),
    "running": PoseFamily(2, (-35, 85), (5, 110), (-11, 3), (5, 25), {"bent": 4, "any": 2}),
    "free": PoseFamily(2, (-30, 100), (0, 120), (-10, 45), (-15, 45), {"any": 1}),
    "lying": PoseFamily(0.6, (-10, 60), (0, 80), (-5, 25), (-10, 25), _BUSY, lying=True),
}
"""Kinds of pose by name."""


def sample_pose(
    random: np.random.Generator, joints: Mapping[str, Tensor]
) -> tuple[str, dict[str, Tensor]]:
    """Draw a pose.

    Parameters
    ----------
    random : numpy Generator
        Where chance comes from.
    joints : mapping of str to Tensor of shape (3,)
        Where the bones of the body at rest begin.

    Returns
    -------
    name : str
        Key of :data:`FAMILIES`.
    rotations : dict of str to Tensor of shape (3, 3)
        For :meth:`~barelens.pose.synthetic.BodyModel.pose`.
    """
    name = _choose(random, {name: family.share for name, family in FAMILIES.items()})
    family = FAMILIES[name]
    rest = {bone: joint.double().numpy() for bone, joint in joints.items()}
    rotations = {"root": _whole_body(random, family)} | _trunk(random, family) | _head(random)
    left, right = _legs(random, family)
    for side, leg in (("L", left), ("R", right)):
        arm = _ARMS[_choose(random, family.arms)]
        limbs = leg | _arm(random, arm, rest) | _fingers(random, rest)
        for bone, matrix in limbs.items():
            mirrored = matrix if side == "L" else _MIRROR @ matrix @ _MIRROR
            rotations[f"{bone}.{side}"] = mirrored
    return name, {bone: torch.from_numpy(matrix).float() for bone, matrix in rotations.items()}


def rotation(axis: Vector, degrees: float) -> Vector:
    """Return the matrix that turns about an axis, anticlockwise for who sees it come."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _whole_body(random: np.random.Generator, family: PoseFamily) -> Vector:
    sway = rotation(_X, random.normal(0, 4)) @ rotation(_Y, random.normal(0, 4))
    if not family.lying:
        return sway
    return rotation(_Z, random.uniform(0, 360)) @ rotation(_X, random.choice([-90, 90])) @ sway


def _trunk(random: np.random.Generator, family: PoseFamily) -> Rotations:
    bones = ("spine05", "spine04", "spine03", "spine02", "spine01")
    bend, lean, turn = random.uniform(*family.bend), random.normal(0, 8), random.normal(0, 12)
    share = len(bones)
    each = rotation(_Z, turn / share) @ rotation(_Y, lean / share) @ rotation(_X, bend / share)
    return dict.fromkeys(bones, each)


def _head(random: np.random.Generator) -> Rotations:
    nod, turn, tilt = random.normal(0, 14), random.normal(0, 22), random.normal(0, 8)
    half = rotation(_Z, turn / 2) @ rotation(_Y, tilt / 2) @ rotation(_X, nod / 2)
    return {"neck01": half, "head": half}


def _legs(random: np.random.Generator, family: PoseFamily) -> tuple[Rotations, Rotations]:
    """Draw both legs, each as a left one."""
    first = _leg(random, family)
    if not family.together:
        return first, _leg(random, family)
    jitter = {bone: rotation(_X, random.normal(0, 8)) for bone in first}
    return first, {bone: matrix @ jitter[bone] for bone, matrix in first.items()}


def _leg(random: np.random.Generator, family: PoseFamily) -> Rotations:
    hip, knee = random.uniform(*family.hip), random.uniform(*family.knee)
    spread, turn = random.uniform(*family.spread), random.normal(5, 10)
    thigh = rotation(_Z, turn) @ rotation(_Y, -spread) @ rotation(_X, -hip)
    return {
        "upperleg01": thigh,
        "lowerleg01": rotation(_X, knee),
        "foot": rotation(_X, random.normal(0, 10)),
    }


def _arm(random: np.random.Generator, ranges: _Arm, rest: Mapping[str, Vector]) -> Rotations:
    """Draw a left arm: where the upper arm points, its twist and the bend of the elbow."""
    shoulder, elbow, wrist = (rest[f"{bone}.L"] for bone in ("upperarm01", "lowerarm01", "wrist"))
    upper, lower = _unit(elbow - shoulder), _unit(wrist - elbow)
    lift = random.uniform(*ranges.lift)
    azimuth = np.radians(random.uniform(*ranges.azimuth))
    sine, cosine = np.sin(np.radians(lift)), np.cos(np.radians(lift))
    target = np.array([sine * np.cos(azimuth), -sine * np.sin(azimuth), -cosine])
    # The collarbone takes a part of what goes beyond the horizontal.
    raised = rotation(_Y, -0.3 * max(lift - 80, 0))
    target = raised.T @ target
    swing = rotation(np.cross(upper, target), float(np.degrees(np.arccos(upper @ target))))
    twist = rotation(upper, -random.uniform(*ranges.twist))
    at_rest = float(np.degrees(np.arccos(upper @ lower)))
    bend = rotation(np.cross(upper, lower), random.uniform(*ranges.elbow) - at_rest)
    hand = rotation(_X, random.normal(0, 12)) @ rotation(_Y, random.normal(0, 12))
    return {"clavicle": raised, "upperarm01": swing @ twist, "lowerarm01": bend, "wrist": hand}


def _fingers(random: np.random.Generator, rest: Mapping[str, Vector]) -> Rotations:
    """Curl the four fingers of a left hand by about as much each."""
    curl = random.uniform(-5, 70)
    knuckle = rest["finger2-1.L"]
    towards_thumb = rest["finger1-3.L"] - knuckle
    rotations = {}
    for finger in range(2, 6):
        along = _unit(rest[f"finger{finger}-3.L"] - rest[f"finger{finger}-1.L"])
        palm = towards_thumb - (towards_thumb @ along) * along
        across = knuckle - rest["finger5-1.L"]
        palm = palm - (palm @ _unit(across)) * _unit(across)
        own = curl + random.normal(0, 5)
        for joint in range(1, 4):
            rotations[f"finger{finger}-{joint}"] = rotation(np.cross(along, palm), own)
    return rotations


def _unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def _choose(random: np.random.Generator, shares: Mapping[str, float]) -> str:
    weights = np.array(list(shares.values()), float)
    return str(random.choice(list(shares), p=weights / weights.sum()))
