"""A matrix from its answers to Hadamard vectors, some of which may be lost."""

import torch
from torch import Tensor

from .patterns import hadamard
from .structure import Structure, fit_structure, shrink_to_structure

__all__ = ["best_matrix"]


def best_matrix(
    answers: Tensor, kept: list[int], variance: Tensor, order: int, length: int
) -> tuple[Tensor, Tensor, Structure | None, float, dict[str, float]]:
    """Estimate the matrix plainly and with structure, and keep what predicts held-out patterns."""

    def plain(positions: list[int]) -> tuple[Tensor, Tensor]:
        phi = _invert(answers[positions], [kept[k] for k in positions], order, length)
        std = (variance / len(positions)).sqrt()[..., None].expand_as(phi).contiguous()
        return phi, std

    everything = list(range(len(kept)))
    test = everything[4::8]
    phi, std = plain([position for position in everything if position not in set(test)])
    vectors = hadamard(order)[[kept[k] for k in test], :length].double()

    def error(matrix: Tensor) -> float:
        predicted = torch.einsum("kj,csj->kcs", vectors, matrix)
        return float((predicted - answers[test]).norm() / answers[test].norm())

    held_out = {
        "plain": error(phi),
        "structured": error(shrink_to_structure(phi, std, fit_structure(phi))),
    }
    phi, std = plain(everything)
    structure = fit_structure(phi)
    if held_out["structured"] >= held_out["plain"]:
        return phi, std, None, structure.residual, held_out
    shrunk = shrink_to_structure(phi, std, structure)
    return shrunk, std, structure, structure.residual, held_out


def _invert(answers: Tensor, kept: list[int], order: int, length: int) -> Tensor:
    """Recover the matrix from its answers (patterns, planes, sensor) to the kept vectors.

    Hadamard vectors are orthogonal, also when cut to the scene: with all of them the inverse is
    the transpose. Lost answers are filled by the most probable ones given the rest, where rows of
    the matrix are taken as draws from a stationary process, as a mask's shadow is.
    """
    vectors = hadamard(order)[:, :length].double()
    full = answers.new_zeros(order, *answers.shape[1:])
    full[kept] = answers
    phi = torch.einsum("kcs,kj->csj", full, vectors) / order
    lost = [index for index in range(order) if index not in set(kept)]
    if not lost:
        return phi
    for _ in range(8):
        covariance = _stationary_covariance(phi.reshape(-1, length))
        among = vectors[kept] @ covariance @ vectors[kept].T
        ridge = 1e-6 * among.diagonal().mean() * torch.eye(len(kept), dtype=among.dtype)
        across = vectors[lost] @ covariance @ vectors[kept].T
        filled = across @ torch.linalg.solve(among + ridge, answers.flatten(1))
        full[lost] = filled.reshape(len(lost), *answers.shape[1:])
        phi = torch.einsum("kcs,kj->csj", full, vectors) / order
    return phi


def _stationary_covariance(rows: Tensor) -> Tensor:
    """Toeplitz covariance of rows, from their mean circular-free autocorrelation."""
    length = rows.shape[-1]
    spectrum = torch.fft.rfft(rows, n=2 * length).abs().square().mean(0)
    lags = torch.fft.irfft(spectrum)[:length] / length
    index = torch.arange(length)
    return lags[(index[:, None] - index).abs()]
