"""Lensless imaging: operators, masks, sensors and reconstruction."""

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
from .shapes import ShapeError
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
    "SeparableFactors",
    "SeparableOperator",
    "ShapeError",
    "Solution",
    "Sum",
    "Tikhonov",
    "TikhonovSolution",
    "admm_tv",
    "conjugate_gradient",
    "fista",
    "nonnegative_prox",
    "operator_norm",
    "plug_and_play",
    "total_variation",
    "tv_prox",
    "tv_regulariser",
]
