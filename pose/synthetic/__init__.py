"""Pictures of synthetic people with exact labels, rendered from the parametric body `anny`."""

from .bodies import KEYPOINTS, BodyModel, PosedBody, load_body_model
from .camera import PinholeCamera
from .lensless import LenslessView
from .people import HIDDEN, OUTSIDE, VISIBLE, PersonSample, render_person
from .raster import Fragments, rasterise
from .regions import PARTS

__all__ = [
    "HIDDEN",
    "KEYPOINTS",
    "OUTSIDE",
    "PARTS",
    "VISIBLE",
    "BodyModel",
    "Fragments",
    "LenslessView",
    "PersonSample",
    "PinholeCamera",
    "PosedBody",
    "load_body_model",
    "rasterise",
    "render_person",
]
