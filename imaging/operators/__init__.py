"""Linear operators: what a lensless camera does to a scene, and the exact transpose of it."""

from .base import Composition, LinearOperator, Scaled, Sum, operator_norm
from .convolution import ConvolutionOperator
from .separable import MeanRemoval, SeparableOperator

__all__ = [
    "Composition",
    "ConvolutionOperator",
    "LinearOperator",
    "MeanRemoval",
    "Scaled",
    "SeparableOperator",
    "Sum",
    "operator_norm",
]
