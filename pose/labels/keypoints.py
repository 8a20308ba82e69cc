"""Names, mirror pairs and skeletons of keypoints, and the way from one layout to another."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from ...imaging.shapes import ShapeError
from .files import read_facts

__all__ = [
    "KEYPOINT_LAYOUTS",
    "KeypointLayout",
    "convert_keypoints",
    "keypoint_layout",
    "named_layout",
]

OWN = "own"
KEYPOINT_LAYOUTS = {308: "sapiens308", 133: "wholebody133", 17: "coco17"}

Side = Literal["left", "right", "centre"]


@dataclass(frozen=True)
class KeypointLayout:
    """What the keypoints of a model are.

    Attributes
    ----------
    name : str
        ``"sapiens308"``, ``"wholebody133"`` or ``"coco17"``.
    names : tuple of str
        Of each keypoint; left and right are the person's own.
    flip_indices : tuple of int
        Which keypoint each one becomes in a mirror.
    skeleton : tuple of (int, int)
        Keypoints that a line joins.
    sigmas : tuple of float or None
        Spread of each keypoint in COCO's similarity, if published.
    """

    name: str
    names: tuple[str, ...]
    flip_indices: tuple[int, ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the number of a keypoint.

        Raises
        ------
        ValueError
            The layout has no such keypoint.
        """
        if name not in self.names:
            raise ValueError(f"{self.name} has no keypoint {name!r}")
        return self.names.index(name)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The side of the person each keypoint is on, as far as its name tells."""
        return tuple(_side(name) for name in self.names)


@cache
def keypoint_layout(which: int | str) -> KeypointLayout:
    """Return a layout by its name or by its number of keypoints.

    Raises
    ------
    ValueError
        There is none.
    """
    name = KEYPOINT_LAYOUTS.get(which) if isinstance(which, int) else which
    if name is None or name not in KEYPOINT_LAYOUTS.values():
        known = ", ".join(f"{name} ({count})" for count, name in KEYPOINT_LAYOUTS.items())
        raise ValueError(f"unknown keypoint layout {which!r}; choose one of: {known}")
    facts = read_facts(name)
    sigmas = facts.get("sigmas")
    return KeypointLayout(
        name=name,
        names=tuple(facts["names"]),
        flip_indices=tuple(facts["flip_indices"]),
        skeleton=tuple((first, second) for first, second in facts["skeleton"]),
        sigmas=None if sigmas is None else tuple(sigmas),
    )


@cache
def named_layout(names: tuple[str, ...]) -> KeypointLayout:
    """Return the layout of keypoints of given names.

    Parameters
    ----------
    names : tuple of str
        Of each keypoint, as in the known layouts where they are of those.

    Returns
    -------
    KeypointLayout
        The known one of exactly these names; otherwise one named ``"own"``, in which left and
        right trade places by their names, and the lines of the known layouts join the keypoints
        that they share with it.
    """
    known = [keypoint_layout(name) for name in KEYPOINT_LAYOUTS.values()]
    for layout in known:
        if layout.names == names:
            return layout
    place = {name: index for index, name in enumerate(names)}
    lines = {
        tuple(sorted((place[layout.names[first]], place[layout.names[second]])))
        for layout in known
        for first, second in layout.skeleton
        if layout.names[first] in place and layout.names[second] in place
    }
    return KeypointLayout(
        name=OWN,
        names=names,
        flip_indices=tuple(place.get(_other_side(name), place[name]) for name in names),
        skeleton=tuple((first, second) for first, second in sorted(lines)),
    )


def convert_keypoints(
    positions: Tensor,
    scores: Tensor,
    target: str,
    *,
    source: KeypointLayout | None = None,
    approximate: bool = False,
) -> tuple[Tensor, Tensor]:
    """Pick the keypoints of another layout out of a larger one.

    Parameters
    ----------
    positions : Tensor, shape (..., keypoints, 2)
        x and y, in a known number of keypoints.
    scores : Tensor, shape (..., keypoints)
        Of each keypoint.
    target : str
        Name of a layout.
    source : KeypointLayout, optional
        What the keypoints are, where their number does not tell it; then those of ``target`` that
        it has by name are taken.
    approximate : bool
        From 308 to 133, also take the wrists for the roots of the hands and the third joints
        from the tips for the first joints of the fingers, which the published mapping leaves
        out. Without it 53 of 133 are known, with it 65; the 68 points of the face are not among
        the 238 of the larger layout.

    Returns
    -------
    positions : Tensor, shape (..., target keypoints, 2)
        0 for keypoints the source has not.
    scores : Tensor, shape (..., target keypoints)
        0 likewise.

    Raises
    ------
    ValueError
        There is no way from the one to the other.
    """
    if positions.shape[:-1] != scores.shape or positions.shape[-1:] != (2,):
        raise ShapeError(
            "positions and scores must have shapes (..., keypoints, 2) and (..., keypoints), got "
            f"{tuple(positions.shape)} and {tuple(scores.shape)}"
        )
    if source is not None and source.name == OWN:
        sources = _sources_by_name(source, keypoint_layout(target))
    else:
        sources = _sources(KEYPOINT_LAYOUTS.get(scores.shape[-1], ""), target, approximate)
    index = torch.tensor(sources, device=scores.device)
    known = index >= 0
    index = index.clamp(min=0)
    return (
        torch.where(known[:, None], positions[..., index, :], 0),
        torch.where(known, scores[..., index], 0),
    )


def _sources_by_name(source: KeypointLayout, target: KeypointLayout) -> tuple[int, ...]:
    shared = set(source.names) & set(target.names)
    if not shared:
        raise ValueError(f"the keypoints share no name with those of {target.name}")
    return tuple(source.index(name) if name in shared else -1 for name in target.names)


def _sources(source: str, target: str, approximate: bool) -> tuple[int, ...]:
    """For each keypoint of the target the one of the source, -1 where there is none."""
    have, want = keypoint_layout(source), keypoint_layout(target)
    if have.name == want.name:
        return tuple(range(len(have)))
    if len(have) < len(want):
        raise ValueError(f"cannot convert {source} to the larger {target}")
    if want.name == "coco17":
        return tuple(have.index(name) for name in want.names)
    facts: dict[str, Any] = read_facts(want.name)
    pairs = dict(facts[f"from_{have.name}"])
    if approximate:
        pairs |= dict(facts[f"approximate_from_{have.name}"])
    return tuple(pairs.get(index, -1) for index in range(len(want)))


def _other_side(name: str) -> str:
    sides = {"left": "right", "right": "left", "l": "r", "r": "l"}
    return "_".join(sides.get(word, word) for word in name.split("_"))


def _side(name: str) -> Side:
    if re.search(r"(^|_)(left|l)(_|$)", name):
        return "left"
    if re.search(r"(^|_)(right|r)(_|$)", name):
        return "right"
    return "centre"
