r"""Whether a picture agrees with a capture.

Of the difference between a capture and what a picture predicts, only the part within the camera's
range depends on the picture; it is compared with noise, coefficient by coefficient. What lies
outside is the camera's affair, see :mod:`~barelens.imaging.trust.camera_fit`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..prediction import measured_share
from ..shapes import check_shape
from ..solvers import SeparableFactors, SpectralCapture
from .statistics import ChiSquare

__all__ = ["PictureFit", "check_picture"]

_VISIBLE = 0.1  # least measured share of a coefficient that is worth testing


@dataclass(frozen=True, eq=False)
class PictureFit:
    """A picture's disagreement with a capture.

    Attributes
    ----------
    level : ChiSquare, shape (...)
        Energy of the disagreement against noise.
    whitened : Tensor, shape (..., modes_left, modes_right)
        Disagreement of each coefficient in standard deviations of its noise.
    noise_std, prior_std : Tensor, shape (...)
        What it was measured against.
    """

    level: ChiSquare
    whitened: Tensor
    noise_std: Tensor
    prior_std: Tensor


def check_picture(
    factors: SeparableFactors,
    picture: Tensor,
    capture: Tensor,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
    *,
    penalty: Tensor | None = None,
    uncertainty: float = 0.0,
    spectral: SpectralCapture | None = None,
    spectrum: Tensor | None = None,
) -> PictureFit:
    """Test a picture against the capture it is said to show.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    picture : Tensor, shape (..., *scene_shape)
        In units of the camera's scenes.
    capture : Tensor, shape (..., *capture_shape)
        The capture.
    noise_std, prior_std : float or Tensor, shape (...)
        Noise of the capture and root mean square of the scene, over 0.
    penalty : Tensor, shape (...), optional
        Tikhonov's penalty, where the picture is such a reconstruction of this very capture: it
        follows the capture's noise, and the fit's trace is taken off the degrees of freedom.
        Exact where the penalty is right for the scene, else the noise a picture may leave.
    uncertainty : float, optional
        Relative standard deviation of the noise variance.
    spectral : SpectralCapture, optional
        ``factors.spectral(capture)``, where it is known already.
    spectrum : Tensor, shape (..., modes_left, modes_right), optional
        ``factors.decompose(picture)``, likewise.

    Returns
    -------
    PictureFit
        One test for each channel of each picture. A p-value of a picture fitted to the capture in
        other ways than by a penalty comes out too large.

    Raises
    ------
    ShapeError
        Picture or capture are not ones of this camera.
    """
    check_shape(picture, factors.scene_shape, "picture")
    check_shape(capture, factors.capture_shape, "capture")
    noise, prior = torch.as_tensor(noise_std).to(capture), torch.as_tensor(prior_std).to(capture)
    predicted = factors.gains * (factors.decompose(picture) if spectrum is None else spectrum)
    observed = factors.analyse(capture) if spectral is None else spectral.coefficients
    whitened = (observed - predicted) / noise[..., None, None]
    if penalty is not None:
        # Of prior scenes, (1 - G) c has the variance (1 - G) sigma^2.
        left_over = 1 - measured_share(factors.gains, penalty.sqrt(), 1.0)
        whitened = whitened / left_over.sqrt()
    visible = measured_share(factors.gains, noise, prior) >= _VISIBLE
    energy = (visible * whitened.square()).sum((-2, -1))
    dof = visible.sum((-2, -1)).to(energy).expand_as(energy).clamp_min(1)
    lead = energy.shape
    return PictureFit(
        level=ChiSquare.of(energy, dof, 2 * dof, uncertainty),
        whitened=whitened,
        noise_std=noise.expand(lead),
        prior_std=prior.expand(lead),
    )
