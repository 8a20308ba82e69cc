"""The same number for the same person through a video."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .boxes import box_iou
from .outputs import HumanOutput, Person

__all__ = ["Tracker"]

_SPREAD = 0.1  # of a keypoint between frames, as a share of the person's size
_SURE = 0.3  # score from which a keypoint is compared
_STEADY = 0.5  # share of the newest step in the motion of a box


@dataclass(frozen=True, eq=False)
class _Track:
    """Where a person was last seen.

    Attributes
    ----------
    number : int
        Of the track.
    person : Person
        As last seen.
    motion : Tensor, shape (4,)
        Of the box, in pixels per frame.
    gap : int
        Frames since.
    """

    number: int
    person: Person
    motion: Tensor
    gap: int = 1

    @property
    def shift(self) -> Tensor:
        """How far each side of the box should have moved by now."""
        return self.motion * self.gap


class Tracker:
    """Number the people of successive frames.

    People are matched to tracks at once, by the assignment of the highest total similarity: the
    overlap of the boxes, where they should be by now if they kept moving, and the nearness of
    their keypoints, which tells apart people whose boxes overlap.

    Parameters
    ----------
    min_similarity : float
        Least similarity of a match, in [0, 1].
    max_gap : int
        A track goes on for so many frames in which its person is not found.
    keypoint_weight : float
        Share of the keypoints in the similarity, in [0, 1]; the boxes have the rest.

    Notes
    -----
    Kuhn's assignment is SciPy's ``linear_sum_assignment``. Appearance is not looked at: people
    who trade places while out of sight trade numbers.
    """

    def __init__(
        self, *, min_similarity: float = 0.15, max_gap: int = 15, keypoint_weight: float = 0.5
    ) -> None:
        for name, value in (
            ("min_similarity", min_similarity),
            ("keypoint_weight", keypoint_weight),
        ):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        if max_gap < 0:
            raise ValueError(f"max_gap must not be negative, got {max_gap}")
        self.min_similarity = min_similarity
        self.max_gap = max_gap
        self.keypoint_weight = keypoint_weight
        self._tracks: list[_Track] = []
        self._next = 0

    def __call__(self, output: HumanOutput) -> HumanOutput:
        """Return the output of the next frame with a track for each person."""
        people = output.people
        matches = self._match(people)
        seen: list[_Track] = []
        for index, person in enumerate(people):
            track = matches.get(index)
            if track is None:
                number, motion = self._next, torch.zeros_like(person.box)
                self._next += 1
            else:
                step = (person.box - track.person.box) / track.gap
                number, motion = track.number, torch.lerp(track.motion, step, _STEADY)
            seen.append(_Track(number, replace(person, track=number), motion))
        found = {track.number for track in seen}
        waiting = [
            replace(track, gap=track.gap + 1)
            for track in self._tracks
            if track.number not in found and track.gap <= self.max_gap
        ]
        self._tracks = seen + waiting
        return replace(output, people=tuple(track.person for track in seen))

    def _match(self, people: Sequence[Person]) -> dict[int, _Track]:
        """Find the track of each person that has one."""
        from scipy.optimize import linear_sum_assignment

        if not people or not self._tracks:
            return {}
        similarity = self._similarity(people)
        # What is too unlike must not push others out of their places.
        allowed = similarity >= self.min_similarity
        rows, columns = linear_sum_assignment(
            torch.where(allowed, similarity, -1.0).numpy(), maximize=True
        )
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if allowed[row, column]
        }

    def _similarity(self, people: Sequence[Person]) -> Tensor:
        """How alike each person and each track are, shape (people, tracks), in [0, 1]."""
        boxes = torch.stack([person.box for person in people]).cpu()
        expected = torch.stack([track.person.box + track.shift for track in self._tracks]).cpu()
        overlaps = box_iou(boxes, expected)
        nearness = torch.stack(
            [torch.stack([_nearness(person, track) for track in self._tracks]) for person in people]
        )
        weight = (~nearness.isnan()).double() * self.keypoint_weight
        return torch.lerp(overlaps.double(), nearness.nan_to_num(), weight)


def _nearness(person: Person, track: _Track) -> Tensor:
    """Mean nearness of the keypoints that both have, in [0, 1]; NaN where they share none."""
    before = track.person
    sets = (person.keypoints, person.keypoint_scores, before.keypoints, before.keypoint_scores)
    if any(each is None for each in sets) or sets[0].shape != sets[2].shape:  # type: ignore[union-attr]
        return torch.tensor(torch.nan, dtype=torch.float64)
    points, scores, past, past_scores = (each.detach().cpu().double() for each in sets)  # type: ignore[union-attr]
    shift = track.shift.cpu().double().reshape(2, 2).mean(dim=0)
    size = (before.box[2:] - before.box[:2]).cpu().double().prod().sqrt()
    apart = torch.linalg.vector_norm(points - past - shift, dim=-1)
    near = torch.exp(-apart.square() / (2 * (_SPREAD * size).square()))
    return near[(scores >= _SURE) & (past_scores >= _SURE)].mean()
