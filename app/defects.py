"""Samples of raw frames that hold no light."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging import MeanRemoval
from ..imaging.solvers import SeparableFactors
from ..imaging.trust import estimate_noise_std, estimate_prior_std, fill_missing

__all__ = ["Defects", "find_defects", "predict_defects", "usable_samples"]


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

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return bool(self.saturated_pixels or self.missing_rows or self.missing_columns)


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
    # As an array, because torch cannot compare its unsigned 16-bit integers.
    counts = (raw.double() if raw.is_floating_point() else raw).cpu().numpy()
    flat = counts.reshape(-1, *counts.shape[-2:])
    highest = flat.max(-1)
    rows = (highest == flat.min(-1)).any(0)
    columns = (flat.max(-2) == flat.min(-2)).any(0)
    valid = np.broadcast_to(~(rows[:, None] | columns), counts.shape)
    saturated = 0
    if highest.max() >= white_level:  # of most frames no pixel is
        below = counts < white_level
        valid, saturated = valid & below, int(np.count_nonzero(~below))
    defects = Defects(
        saturated_pixels=saturated,
        missing_rows=rows.nonzero()[0].tolist(),
        missing_columns=columns.nonzero()[0].tolist(),
    )
    return defects, torch.from_numpy(valid.copy())


def usable_samples(camera: Camera, raw: Tensor) -> tuple[Defects, Tensor | None]:
    """Find the samples of a prepared capture that no defect has touched.

    Parameters
    ----------
    camera : Camera
        The camera.
    raw : Tensor, shape frame_shape
        The raw frame.

    Returns
    -------
    defects : Defects
        Those of the frame.
    usable : Tensor of bool or None, shape of the prepared capture
        False where turning, cropping or averaging has mixed a defect in; None if that is nowhere.
    """
    defects, valid = find_defects(raw, camera.white_level)
    if not defects.any:
        return defects, None
    bare = replace(camera, mean_removal=False, black_level=0.0, white_level=1.0)
    outside = bare.prepare(torch.ones(valid.shape, dtype=torch.float64))
    usable = bare.prepare(valid.double()) > outside - 1e-6
    return defects, None if bool(usable.all()) else usable


def predict_defects(
    camera: Camera, factors: SeparableFactors, raw: Tensor, capture: Tensor
) -> tuple[Tensor, float]:
    """Put what the rest of a capture predicts in the place of its defects.

    Parameters
    ----------
    camera : Camera
        The camera.
    factors : SeparableFactors
        The same, factorised.
    raw : Tensor, shape frame_shape
        The raw frame.
    capture : Tensor, shape (planes, height, width)
        What was prepared from it.

    Returns
    -------
    capture : Tensor
        The capture, prepared as before; samples without a defect are as they were but for the
        means of rows and columns.
    share : float
        How much of it was put in, in [0, 1].
    """
    _, usable = usable_samples(camera, raw)
    if usable is None:
        return capture, 0.0
    usable = usable.to(capture.device)
    noise = estimate_noise_std(capture, valid=usable)
    filled = torch.where(usable, capture, 0.0)
    for _ in range(2):  # the strength of the scene is not known before the gaps are closed
        prior = estimate_prior_std(factors, filled, noise)
        filled = fill_missing(factors, capture, usable, noise, prior)
    if camera.mean_removal:
        MeanRemoval.within(filled)  # what was filled in has means of its own
    return filled, float((~usable).double().mean())
