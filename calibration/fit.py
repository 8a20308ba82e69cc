r"""Transfer matrices from captures of Hadamard patterns.

A row pattern :math:`h 1^T`, shown as itself and as its complement, gives two captures whose
difference is :math:`(\Phi_L h)(\Phi_R 1)^T` once row and column means are removed: ambient light,
black level and the constant part of the mask cancel. All differences of one side share their
right vector, which is found from all of them together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..imaging import MeanRemoval
from .errors import CalibrationError
from .inversion import best_matrix
from .patterns import PatternSet
from .structure import Structure

__all__ = ["SideFit", "SideFitter", "combine", "fit_side"]

#: Gives the mean-free planes (planes, height, width) of a pattern's capture, or None if it is lost.
Frames = Callable[[int, int], Tensor | None]

_OUTLIER = 6.0  # robust standard deviations beyond which a pattern is left out


@dataclass(frozen=True, eq=False)
class SideFit:
    """One matrix, up to the scale of the other side.

    Attributes
    ----------
    phi : Tensor, shape (planes, sensor, scene)
        Transfer matrix times the length of the other side's answer to white.
    phi_std : Tensor, shape (planes, sensor, scene)
        Standard deviation of each entry.
    common : Tensor, shape (planes, other_sensor)
        Unit vector that all patterns share along the other side.
    residual : Tensor, shape (patterns,)
        Share of each pattern's energy that the shared vector does not explain; NaN where lost.
    sigma_ratio : Tensor, shape (patterns,)
        Second over first singular value of each difference; NaN where lost.
    structure : Structure or None
        The shift-invariant structure that the matrix was shrunk to, where that lowered the error
        on held-out patterns.
    departure : float
        Share of the matrix that no shift-invariant structure explains.
    held_out : dict of float
        Relative error of predicting every eighth pattern from the others, ``plain`` and
        ``structured``.
    rejected : list of int
        Patterns left out as outliers.
    lost : list of int
        Patterns of which neither capture could be used.
    """

    phi: Tensor
    phi_std: Tensor
    common: Tensor
    residual: Tensor
    sigma_ratio: Tensor
    structure: Structure | None
    departure: float
    held_out: dict[str, float]
    rejected: list[int]
    lost: list[int]


class SideFitter:
    """Differences of one side's patterns, made from whichever captures there are.

    A pattern and its complement add up to the same capture for every index. Where one of the two
    is lost, that sum stands in for it.
    """

    def __init__(self, frames: Frames, order: int) -> None:
        self._frames, self.order = frames, order
        self._sum: Tensor | None = None
        self._pairs = 0

    def differences(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, difference) for every pattern of which a capture is left."""
        single: list[int] = []
        for index in range(self.order):
            plus, minus = self._frames(index, 1), self._frames(index, -1)
            if plus is not None and minus is not None:
                if self._pairs < self.order:
                    self._add(plus + minus)
                yield index, plus - minus
            elif plus is not None or minus is not None:
                single.append(index)
        for index in single:
            plus, minus = self._frames(index, 1), self._frames(index, -1)
            if self._sum is None:
                continue
            white = self._sum / self._pairs
            yield index, 2 * plus - white if plus is not None else white - 2 * _given(minus)

    def _add(self, white: Tensor) -> None:
        self._sum = white if self._sum is None else self._sum + white
        self._pairs += 1


def _given(frame: Tensor | None) -> Tensor:
    assert frame is not None
    return frame


def fit_side(
    frames: Frames,
    patterns: PatternSet,
    side: str,
    *,
    progress: Callable[[], None] = lambda: None,
) -> SideFit:
    """Fit one transfer matrix, reading every capture twice and holding one at a time.

    Parameters
    ----------
    frames : callable
        Maps (index, sign) to the planes (planes, height, width) of that capture, or to None.
    patterns : PatternSet
        What was shown.
    side : {"left", "right"}
        Which matrix.
    progress : callable, optional
        Called after every pattern of both passes.

    Returns
    -------
    SideFit
        The matrix with its uncertainty and the diagnostics of every pattern.

    Raises
    ------
    CalibrationError
        Too few captures are left.
    """
    oriented = _oriented(frames, side)
    gram, energies = _first_pass(SideFitter(oriented, patterns.order), progress)
    if len(energies) < patterns.order // 2:
        raise CalibrationError(
            f"only {len(energies)} of {patterns.order} {side} patterns have a usable capture; "
            "half are needed"
        )
    common = torch.linalg.eigh(gram)[1][..., -1]
    answers, explained, noise, second = _second_pass(
        SideFitter(oriented, patterns.order), common, progress
    )
    residual = torch.full((patterns.order,), torch.nan, dtype=torch.float64)
    ratio = residual.clone()
    for index, share in explained.items():
        residual[index], ratio[index] = 1 - share, second[index]
    rejected = _outliers(residual)
    kept = [index for index in answers if index not in rejected]
    length = patterns.scene_height if side == "left" else patterns.scene_width
    stacked = torch.stack([answers[index] for index in kept])
    variance = torch.stack([noise[index] for index in kept]).mean(0)
    phi, phi_std, structure, departure, held_out = best_matrix(
        stacked, kept, variance, patterns.order, length
    )
    return SideFit(
        phi=phi,
        phi_std=phi_std,
        common=common,
        residual=residual,
        sigma_ratio=ratio,
        structure=structure,
        departure=departure,
        held_out=held_out,
        rejected=rejected,
        lost=[index for index in range(patterns.order) if index not in answers],
    )


def _oriented(frames: Frames, side: str) -> Frames:
    """Turn frames so that the pattern always varies along the rows."""

    def give(index: int, sign: int) -> Tensor | None:
        frame = frames(index, sign)
        if frame is None:
            return None
        frame = MeanRemoval(tuple(frame.shape)).forward(frame)
        return frame if side == "left" else frame.mT

    return give


def _first_pass(
    fitter: SideFitter, progress: Callable[[], None]
) -> tuple[Tensor, dict[int, float]]:
    """Accumulate the Gram matrix, whose first eigenvector is the shared right vector."""
    gram: Tensor | None = None
    energies: dict[int, float] = {}
    for index, difference in fitter.differences():
        product = difference.mT @ difference
        gram = product if gram is None else gram.add_(product)
        energies[index] = float(difference.square().sum())
        progress()
    if gram is None:
        raise CalibrationError("no capture of any pattern can be used")
    return gram.double(), energies


def _second_pass(
    fitter: SideFitter, common: Tensor, progress: Callable[[], None]
) -> tuple[dict[int, Tensor], dict[int, float], dict[int, Tensor], dict[int, float]]:
    """Project every difference on the shared vector; also measure what is left over."""
    answers, explained, noise, second = {}, {}, {}, {}
    for index, difference in fitter.differences():
        vector = common.to(difference)
        answer = (difference @ vector[..., None])[..., 0]
        energy = difference.square().sum(-1)
        left_over = (energy - answer.square()).clamp_min(0)
        answers[index] = answer.double()
        noise[index] = (left_over / (difference.shape[-1] - 1)).double()
        explained[index] = float(answer.square().sum() / energy.sum())
        second[index] = _second_singular_ratio(difference, answer, vector)
        progress()
    return answers, explained, noise, second


def _second_singular_ratio(difference: Tensor, answer: Tensor, vector: Tensor) -> float:
    """Second over first singular value, averaged over planes, by a few power iterations."""
    rest = difference - answer[..., :, None] * vector[..., None, :]
    probe = rest.sum(-2)
    for _ in range(4):
        probe = probe / probe.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        probe = ((rest @ probe[..., None]).mT @ rest)[..., 0, :]
    second = probe.norm(dim=-1).sqrt()
    return float((second / answer.norm(dim=-1).clamp_min(1e-30)).mean())


def _outliers(residual: Tensor) -> list[int]:
    """Patterns whose unexplained share stands out; the first one, all white, has little signal."""
    usable = ~residual.isnan()
    logs = residual.clamp_min(1e-12).log()
    centre = logs[usable].median()
    spread = 1.4826 * (logs[usable] - centre).abs().median() + 0.05
    return [
        int(index)
        for index in torch.nonzero(usable & (logs > centre + _OUTLIER * spread)).flatten()
    ]


def combine(left: SideFit, right: SideFit) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fix the scale and sign between both sides.

    Each side's matrix carries the length of the other's answer to white, and its shared vector
    is that answer's direction: two measurements of one product, which decide the scale. What is
    left free, a factor between the sides, is set so that both have equal norms.

    Returns
    -------
    phi_left, phi_right, phi_left_std, phi_right_std : Tensor
        Matrices of the separable model, in captured light over scene light.
    """
    white_left, white_right = left.phi.sum(-1), right.phi.sum(-1)
    # The shared vector of the left patterns lies along the right side, and the other way round.
    onto_right = (white_right * left.common).sum(-1)
    onto_left = (white_left * right.common).sum(-1)
    product = (onto_right.abs() * onto_left.abs()).sqrt().clamp_min(1e-30)
    sign = torch.sign(onto_right)
    balance = (right.phi.norm(dim=(-2, -1)) / left.phi.norm(dim=(-2, -1))).sqrt()
    scale_left = (sign * balance / product.sqrt())[..., None, None]
    scale_right = (1 / (balance * product.sqrt()))[..., None, None]
    return (
        left.phi * scale_left,
        right.phi * scale_right,
        left.phi_std * scale_left.abs(),
        right.phi_std * scale_right.abs(),
    )
