"""Solvers of the linear inverse problem: closed form, iterative, and with any denoiser."""

from .admm import admm_tv
from .admm_separable import noise_weight
from .conjugate_gradient import conjugate_gradient
from .factors import SeparableFactors
from .fista import ProximalMap, fista, nonnegative_prox, tv_regulariser
from .penalty import PenaltyRule, SpectralCapture, choose_penalty, inverse_filter
from .plug_and_play import Denoiser, plug_and_play
from .solution import Solution
from .tikhonov import Tikhonov, TikhonovSolution
from .total_variation import FiniteDifference, total_variation, tv_prox

__all__ = [
    "Denoiser",
    "FiniteDifference",
    "PenaltyRule",
    "ProximalMap",
    "SeparableFactors",
    "Solution",
    "SpectralCapture",
    "Tikhonov",
    "TikhonovSolution",
    "admm_tv",
    "choose_penalty",
    "conjugate_gradient",
    "fista",
    "inverse_filter",
    "noise_weight",
    "nonnegative_prox",
    "plug_and_play",
    "total_variation",
    "tv_prox",
    "tv_regulariser",
]
