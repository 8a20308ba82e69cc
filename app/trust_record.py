"""What a reconstruction's record says of how far it can be trusted."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging import LinearOperator
from ..imaging.prediction import measured_share
from ..imaging.solvers import SeparableFactors, SpectralCapture, inverse_filter
from ..imaging.trust import (
    CameraTest,
    Conformal,
    ErrorMaps,
    LocalTest,
    ReconstructionVariance,
    estimate_noise_std,
    factorise,
    fill_missing,
    local_std,
    merge_planes_variance,
    overall_share,
    reconstruction_variance,
    split_picture,
)
from .defects import Defects, usable_samples
from .json_numbers import json_numbers
from .trust_evidence import Evidence, plain_evidence, separable_evidence
from .trust_summary import coarse_map, interval_entry, std_summary

__all__ = ["Trust", "TrustReport"]

_TURNED = 0.25  # correlation of neighbours' noise behind bilinear turning, mean over a frame
SHARE_WINDOW = 17  # of maps of what was measured, in scene samples


@dataclass(frozen=True, eq=False)
class TrustReport:
    """How far one reconstruction can be trusted.

    Attributes
    ----------
    record : dict
        The numbers, as JSON data.
    measured_share : Tensor, shape (height, width)
        Share of the picture's contrast that the sensor determined, NaN where it has none.
    std : Tensor, shape (height, width)
        Expected error, mean over colours, in units of the scene.
    sensor : LocalTest, shape (planes, windows_down, windows_right)
        Where on the sensor the capture is not explained.
    half_width : Tensor or None, shape (height, width)
        Of the interval around each sample, in units of the scene, where intervals are calibrated.
    """

    record: dict[str, Any]
    measured_share: Tensor
    std: Tensor
    sensor: LocalTest
    half_width: Tensor | None = None


class Trust:
    """Say of reconstructions of one camera how far they can be trusted.

    Parameters
    ----------
    camera : Camera
        The camera.
    operator : LinearOperator
        Its operator, in the dtype and on the device of captures.
    intervals : Conformal, optional
        Calibration of expected errors, see `barelens calibrate intervals`.
    factors : SeparableFactors, optional
        ``factorise(operator)``, where it is known already.
    """

    def __init__(
        self,
        camera: Camera,
        operator: LinearOperator,
        intervals: Conformal | None = None,
        *,
        factors: SeparableFactors | None = None,
    ) -> None:
        self._camera = camera
        self._operator = operator
        self._intervals = intervals
        self._factors = factorise(operator) if factors is None else factors
        self._last_maps: tuple[Tensor, ErrorMaps] | None = None
        self._camera_test = None
        if isinstance(self._factors, SeparableFactors):
            self._camera_test = CameraTest(self._factors)

    def __call__(
        self,
        raw: Tensor,
        planes: Tensor,
        penalty: Tensor | None = None,
        *,
        capture: Tensor | None = None,
        spectral: SpectralCapture | None = None,
    ) -> TrustReport:
        """Judge a reconstruction.

        Parameters
        ----------
        raw : Tensor, shape frame_shape
            The raw frame.
        planes : Tensor, shape (planes, height, width)
            What was reconstructed from it, before colours are merged.
        penalty : Tensor, shape (planes), optional
            Tikhonov's penalty, where that is the method.
        capture : Tensor, shape (planes, *sensor), optional
            ``camera.prepare(raw)``, where it is known already.
        spectral : SpectralCapture, optional
            The same in the camera's singular vectors, likewise.

        Returns
        -------
        TrustReport
            Numbers and picture.
        """
        like = self._factors.gains
        planes = planes.to(like)
        spectrum = self._spectrum(planes, penalty, spectral)
        capture, valid, defects = self._prepare(raw, capture)
        evidence = self._evidence(capture, valid, planes, spectrum, self._rounding(raw), spectral)
        noise, prior = evidence.noise, evidence.prior
        split = split_picture(planes, self._factors, noise, prior, spectrum=spectrum)
        variance = self._variance(noise, prior, penalty)
        std = local_std(self.merged(variance, planes), self._camera.to_rgb(planes))
        half_width, interval = interval_entry(self._intervals, std)
        floor = variance.noise.mean((-2, -1)).sqrt()
        share = split.share_map(SHARE_WINDOW, of="contrast", floor=floor).nanmean(-3)
        unusable = 0.0 if valid is None else float((~valid).double().mean())
        record = {
            "prior_std": json_numbers(prior),
            "measured": {
                "of_picture": json_numbers(split.fraction()),
                "of_scene": json_numbers(self._resolved(noise, prior)),
            },
            "std": {
                "closed_form": json_numbers(variance.std.mean((-2, -1))),
                "noise_part": json_numbers(variance.noise.mean((-2, -1)).sqrt()),
                **std_summary(std),
            },
            **interval,
            **evidence.record,
            "defects": {**asdict(defects), "unusable_share": unusable},
            "maps": {"measured_share": coarse_map(share), "std": coarse_map(std.mean(0))},
        }
        return TrustReport(record, share, std.mean(0), evidence.sensor, half_width)

    def filled(self, raw: Tensor, noise: Tensor, prior: Tensor) -> Tensor:
        """Prepare a raw frame of a separable camera, its defects filled as its scene predicts."""
        capture, valid, _ = self._prepare(raw)
        if valid is None or not isinstance(self._factors, SeparableFactors):
            return capture
        return fill_missing(self._factors, capture, valid, noise, prior)

    def _prepare(
        self, raw: Tensor, capture: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Defects]:
        """Prepare a raw frame: its planes, which of their samples are usable, and its defects."""
        defects, valid = usable_samples(self._camera, raw)
        like = self._factors.gains
        if capture is None:
            capture = self._camera.prepare(raw, dtype=like.dtype)
        return capture.to(like), None if valid is None else valid.to(like.device), defects

    def _spectrum(
        self, planes: Tensor, penalty: Tensor | None, spectral: SpectralCapture | None
    ) -> Tensor:
        """Give the picture's coefficients; of Tikhonov's they follow from the capture's."""
        if penalty is None or spectral is None:
            return self._factors.decompose(planes)
        gains = self._factors.gains
        return inverse_filter(gains, penalty.to(gains)) * spectral.coefficients

    def _rounding(self, raw: Tensor) -> float:
        """Noise of rounding to counts in captured light, below which no estimate can be right."""
        step = torch.finfo(torch.float32).eps if raw.is_floating_point() else 1.0
        return step / 12**0.5 / (self._camera.white_level - self._camera.black_level)

    def _evidence(
        self,
        capture: Tensor,
        valid: Tensor | None,
        planes: Tensor,
        spectrum: Tensor,
        least: float,
        spectral: SpectralCapture | None,
    ) -> Evidence:
        known = _TURNED if self._camera.rotation_deg else 0.0
        if self._camera_test is None:
            noise = estimate_noise_std(capture, valid=valid, neighbour_correlation=known)
            return plain_evidence(self._operator, capture, planes, noise.clamp_min(least))
        return separable_evidence(
            self._camera_test,
            capture,
            planes,
            spectrum,
            valid=valid,
            spectral=spectral,
            centred=self._camera.mean_removal,
            neighbour_correlation=known,
            least_noise=least,
        )

    def _resolved(self, noise: Tensor, prior: Tensor) -> Tensor:
        return overall_share(self._factors, measured_share(self._factors.gains, noise, prior))

    def _variance(
        self, noise: Tensor, prior: Tensor, penalty: Tensor | None
    ) -> ReconstructionVariance:
        """Give the error's variance; captures of one penalty after the other share its maps."""
        if penalty is None:
            return reconstruction_variance(self._factors, noise, prior)
        last = self._last_maps  # read once, since batches judge in several threads
        if last is None or not torch.equal(last[0], penalty):
            last = self._last_maps = penalty, ErrorMaps.of(self._factors, penalty)
        return last[1].variance(noise, prior)

    def merged(self, variance: ReconstructionVariance, planes: Tensor) -> ReconstructionVariance:
        """Give the variance of planes once their colours are merged, as the camera merges them."""
        lead = planes.shape
        variance = ReconstructionVariance(variance.noise.expand(lead), variance.prior.expand(lead))
        if not self._camera.bayer:
            return variance
        merged = merge_planes_variance(variance)
        matrix = self._camera.colour_matrix
        if matrix is None:
            return merged
        squares = matrix.to(planes).square()
        return ReconstructionVariance(
            torch.einsum("ij,jhw->ihw", squares, merged.noise),
            torch.einsum("ij,jhw->ihw", squares, merged.prior),
        )
