"""Samples of raw frames that hold no light."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Defects", "find_defects"]


@dataclass(frozen=True)
class Defects:
    """Samples of a raw frame that hold no light.

    Attributes
    ----------
    saturated_pixels : int
        Pixels at the white level or above.
    missing_rows, missing_columns : list of int
        Rows and columns of the frame with one count all along.
    """

    saturated_pixels: int
    missing_rows: list[int]
    missing_columns: list[int]


def find_defects(raw: Tensor, white_level: float) -> tuple[Defects, Tensor]:
    """Find saturated pixels and missing rows and columns of a raw frame.

    Parameters
    ----------
    raw : Tensor of any real dtype, shape (height, width) or (channels, height, width)
        Counts as stored.
    white_level : float
        The count at which the sensor saturates.

    Returns
    -------
    defects : Defects
        What was found.
    valid : Tensor of bool, shape of the frame
        False at every defect.
    """
    counts = raw.double()  # torch cannot compare its unsigned 16-bit integers
    saturated = counts >= white_level
    flat = counts.reshape(-1, *counts.shape[-2:])
    rows = (flat.amax(-1) == flat.amin(-1)).any(0)
    columns = (flat.amax(-2) == flat.amin(-2)).any(0)
    defects = Defects(
        saturated_pixels=int(saturated.sum()),
        missing_rows=rows.nonzero().flatten().tolist(),
        missing_columns=columns.nonzero().flatten().tolist(),
    )
    return defects, ~saturated & ~rows[:, None] & ~columns
