"""One answer for a picture and its capture: right, invented, or seen by another camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..shapes import ShapeError
from .camera_fit import CameraFit, CameraTest, CameraVerdict
from .localise import LocalTest, WindowTest
from .noise import estimate_noise_std, estimate_prior_std
from .picture_fit import PictureFit, check_picture

__all__ = ["PictureVerdict", "Verdict", "combine_verdicts", "judge_picture"]

Verdict = Literal["consistent", "hallucination", "inconsistent", "miscalibration"]
_FROM_WORST: tuple[CameraVerdict, ...] = (
    "miscalibrated",
    "noise understated",
    "noise overstated",
    "fits",
)


@dataclass(frozen=True, eq=False)
class PictureVerdict:
    """What can be said of a picture without knowing the scene.

    Attributes
    ----------
    verdict : {"consistent", "hallucination", "inconsistent", "miscalibration"}
        Miscalibration goes before all else: what a wrong camera says of a picture is no evidence.
        A hallucination stands out somewhere; an inconsistent picture is wrong all over.
    camera_verdict : {"fits", "miscalibrated", "noise understated", "noise overstated"}
        Of the worst plane.
    camera : CameraFit
        The evidence of the capture alone.
    picture : PictureFit
        The evidence against the whole picture, with the noise that the capture shows.
    windows : LocalTest, shape (windows_down, windows_right)
        The evidence against each window, all planes together.
    found : Tensor of bool, shape (windows_down, windows_right)
        Windows that stand out.
    """

    verdict: Verdict
    camera_verdict: CameraVerdict
    camera: CameraFit
    picture: PictureFit
    windows: LocalTest
    found: Tensor


def judge_picture(
    picture: Tensor,
    capture: Tensor,
    camera_test: CameraTest,
    window_test: WindowTest,
    *,
    noise_std: float | Tensor | None = None,
    valid: Tensor | None = None,
    uncertainty: float = 0.02,
    neighbour_correlation: float = 0.0,
    significance: float = 1e-3,
) -> PictureVerdict:
    """Judge one picture against the capture it is said to show.

    Parameters
    ----------
    picture : Tensor, shape (planes, *scene) or (*scene)
        In units of the camera's scenes. One that was fitted to this capture follows its noise,
        which makes the test cautious.
    capture : Tensor, shape (planes, *sensor) or (*sensor)
        The capture, filled where samples are missing.
    camera_test, window_test : CameraTest, WindowTest
        Of one camera, prepared once for all its captures.
    noise_std : float or Tensor, shape (planes) or (), optional
        Noise of the capture; estimated by default.
    valid, neighbour_correlation
        As for :class:`CameraTest`.
    uncertainty : float, optional
        Relative standard deviation of the noise variance, by default that of an estimate from a
        capture of a few hundred thousand samples.
    significance : float, optional
        Rate of false alarms of the camera's test and of false windows among those found.

    Returns
    -------
    PictureVerdict
        The verdict and its evidence.

    Raises
    ------
    ShapeError
        There is a batch axis: judge its captures one by one.
    """
    if capture.ndim not in (2, 3):
        raise ShapeError(f"capture must be of one capture, got {tuple(capture.shape)}")
    factors = camera_test.factors
    rough = estimate_noise_std(capture, valid=valid) if noise_std is None else noise_std
    spectral = factors.spectral(capture)
    prior = estimate_prior_std(factors, capture, rough, spectral=spectral)
    camera = camera_test(
        capture,
        prior,
        noise_std,
        valid=valid,
        uncertainty=uncertainty,
        neighbour_correlation=neighbour_correlation,
        spectral=spectral,
    )
    planes = camera.noise_std.numel()
    camera_verdicts = camera.verdict(significance / planes)
    # What no scene explains is in the range as well, noise or not.
    fits = set(camera_verdicts) == {"fits"}
    seen = camera.noise_std if fits else camera.misfit_std
    fit = check_picture(
        factors,
        picture,
        capture,
        seen,
        prior,
        uncertainty=uncertainty,
        spectral=spectral,
    )
    local = window_test(fit, relative=True)
    local = local.joined() if local.energy.ndim == 3 else local
    found = window_test.find(fit, significance)
    verdict, camera_verdict = combine_verdicts(camera_verdicts, fit, found, significance)
    return PictureVerdict(verdict, camera_verdict, camera, fit, local, found)


def combine_verdicts(
    camera_verdicts: Sequence[CameraVerdict], fit: PictureFit, found: Tensor, significance: float
) -> tuple[Verdict, CameraVerdict]:
    """Join what the camera's, the picture's and the windows' tests say.

    Parameters
    ----------
    camera_verdicts : sequence of CameraVerdict
        Of each plane.
    fit : PictureFit
        Test of the whole picture.
    found : Tensor of bool
        Windows that stand out.
    significance : float
        Rate of false alarms of the picture's test.

    Returns
    -------
    verdict, camera_verdict
        As in :class:`PictureVerdict`.
    """
    camera_verdict = min(camera_verdicts, key=_FROM_WORST.index)
    level = float((fit.level.p_value * fit.level.p_value.numel()).min())
    if camera_verdict == "miscalibrated":
        return "miscalibration", camera_verdict
    if bool(found.any()):
        return "hallucination", camera_verdict
    return ("inconsistent" if level < significance else "consistent"), camera_verdict
