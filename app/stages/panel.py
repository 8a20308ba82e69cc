"""A picture to show, with the words for those who do not see it."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Panel"]


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture to show.

    Attributes
    ----------
    key : str
        What it is, in file names.
    picture : Tensor of uint8, shape (height, width, 3)
        For the screen.
    caption : str
        Says to those who do not see it what it shows.
    """

    key: str
    picture: Tensor
    caption: str
