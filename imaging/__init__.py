"""Lensless imaging: operators, masks, sensors and reconstruction."""

from .geometry import SeparableGeometry, transfer_matrices
from .masks import m_sequence, mura, physical_mask, random_profile
from .operators import (
    Composition,
    ConvolutionOperator,
    LinearOperator,
    MeanRemoval,
    Scaled,
    SeparableOperator,
    Sum,
    operator_norm,
)
from .sensor import Sensor
from .shapes import ShapeError
from .simulate import VirtualCamera
from .solvers import (
    FiniteDifference,
    SeparableFactors,
    Solution,
    Tikhonov,
    TikhonovSolution,
    admm_tv,
    conjugate_gradient,
    fista,
    nonnegative_prox,
    plug_and_play,
    total_variation,
    tv_prox,
    tv_regulariser,
)

__all__ = [
    "Composition",
    "ConvolutionOperator",
    "FiniteDifference",
    "LinearOperator",
    "MeanRemoval",
    "Scaled",
    "Sensor",
    "SeparableFactors",
    "SeparableGeometry",
    "SeparableOperator",
    "ShapeError",
    "Solution",
    "Sum",
    "Tikhonov",
    "TikhonovSolution",
    "VirtualCamera",
    "admm_tv",
    "conjugate_gradient",
    "fista",
    "m_sequence",
    "mura",
    "nonnegative_prox",
    "operator_norm",
    "physical_mask",
    "plug_and_play",
    "random_profile",
    "total_variation",
    "transfer_matrices",
    "tv_prox",
    "tv_regulariser",
]
