"""Models that are loaded once, if they are there."""

from functools import lru_cache

from ...imaging.refine import Refiner
from ...pose import HumanVision
from .choices import weights

__all__ = ["people_model", "refiner"]


@lru_cache(maxsize=1)
def refiner() -> Refiner:
    """Load the refiner that ships with barelens.

    Raises
    ------
    FileNotFoundError
        There is none; the message says what to do.
    ImportError
        diffusers is not installed.
    """
    return Refiner.load(weights("refine").parent)


@lru_cache(maxsize=1)
def people_model() -> HumanVision:
    """Load the model for people that ships with barelens.

    Raises
    ------
    FileNotFoundError
        There is none; the message says what to do.
    """
    return HumanVision.load(weights("people"))
