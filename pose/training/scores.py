"""How good a model is: shares of keypoints found, overlap of parts, angles and depths."""

import torch
from torch import Tensor

__all__ = ["Scores"]


class Scores:
    """Sums over people, from which the scores come.

    Parameters
    ----------
    classes : int
        How many parts there are.
    threshold : float, optional
        A keypoint counts as found within this share of the longer side of the person's box.
    """

    def __init__(self, classes: int, *, threshold: float = 0.1) -> None:
        self.classes = classes
        self.threshold = threshold
        self._found: list[Tensor] = []
        self._inside: list[Tensor] = []
        self._seen: list[Tensor] = []
        self._confusion = torch.zeros(classes**2, dtype=torch.int64)
        self._angles: list[float] = []
        self._depth_errors_m: list[float] = []

    def add_keypoints(
        self, positions: Tensor, truth: Tensor, visibility: Tensor, box_side: float
    ) -> None:
        """Compare keypoints (keypoints, 2) of a person; those outside of the picture are left."""
        distance = (positions - truth).norm(dim=1)
        self._found.append(distance <= self.threshold * box_side)
        self._inside.append(visibility > 0)
        self._seen.append(visibility > 1)

    def add_parts(self, parts: Tensor, truth: Tensor) -> None:
        """Compare class maps of one shape."""
        pairs = truth.long().flatten() * self.classes + parts.long().flatten()
        self._confusion += torch.bincount(pairs, minlength=self.classes**2)

    def add_normals(self, normals: Tensor, truth: Tensor) -> None:
        """Compare normals (3, height, width) where both people are."""
        known = (truth.norm(dim=0) > 0.5) & (normals.norm(dim=0) > 1e-6)
        if bool(known.any()):
            found = torch.nn.functional.normalize(normals[:, known], dim=0)
            cosine = (found * truth[:, known]).sum(dim=0).clamp(-1, 1)
            self._angles.append(float(cosine.acos().rad2deg().mean()))

    def add_depth(self, depth: Tensor, truth: Tensor) -> None:
        """Compare depth (height, width) in metres after the best scale and shift."""
        known = torch.isfinite(truth) & torch.isfinite(depth)
        if int(known.sum()) < 3:
            return
        wanted = truth[known].double()
        terms = torch.stack([depth[known].double(), torch.ones_like(wanted)], dim=1)
        best = torch.linalg.lstsq(terms, wanted[:, None]).solution
        self._depth_errors_m.append(float(((terms @ best)[:, 0] - wanted).abs().mean()))

    def summary(self) -> dict[str, float]:
        """Return the scores by name.

        ``pck`` over all keypoints in the picture and ``pck_visible`` over those in sight;
        ``miou`` over all parts that occur, the background included; ``normals_deg`` the mean
        angle and ``depth_cm`` the mean error, both averaged over people.
        """
        found, inside, seen = (
            torch.stack(each) for each in (self._found, self._inside, self._seen)
        )
        return {
            "people": len(found),
            "pck": float(found[inside].double().mean()),
            "pck_visible": float(found[seen].double().mean()),
            "miou": float(self.part_iou().nanmean()),
            "normals_deg": _mean(self._angles),
            "depth_cm": 100 * _mean(self._depth_errors_m),
        }

    def keypoint_pck(self) -> Tensor:
        """Return the share of each keypoint that was found, of those in the picture."""
        found, inside = torch.stack(self._found), torch.stack(self._inside)
        return (found & inside).sum(dim=0) / inside.sum(dim=0)

    def part_iou(self) -> Tensor:
        """Return the overlap of each part; NaN for parts that occur nowhere."""
        confusion = self._confusion.view(self.classes, self.classes).double()
        both = confusion.diagonal()
        either = confusion.sum(dim=0) + confusion.sum(dim=1) - both
        return torch.where(confusion.sum(dim=1) > 0, both / either, torch.nan)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
