"""From a raw capture to a refined picture beside the linear scene."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging.display import to_display
from ..imaging.refine import (
    Control,
    Measurement,
    Refined,
    Refiner,
    RefinerSettings,
    Tether,
    annotate,
    load_controlnet,
    resize,
)
from ..imaging.trust import Conformal
from .pipeline import LinearPipeline, LinearScene, LinearSettings
from .refined_trust import RefinedTrust

__all__ = ["AnnotatorSettings", "RefiningPipeline"]


@dataclass(frozen=True)
class AnnotatorSettings:
    """A second ControlNet that is shown an annotation of the linear reconstruction.

    Attributes
    ----------
    name : {"canny", "lineart", "openpose"}
        What to find in it.
    model : str
        Folder or hub id of the ControlNet.
    scale : float
        Factor of what it adds.
    weights : str or None
        Folder or hub id of the annotator's own weights.
    """

    name: str
    model: str
    scale: float = 1.0
    weights: str | None = None


class RefiningPipeline:
    """Refine raw captures of one separable camera.

    Parameters
    ----------
    camera : Camera
        The camera of all captures.
    refiner : Refiner
        The model.
    settings : RefinerSettings, optional
        How to refine; what the model recommends by default.
    linear_settings : LinearSettings, optional
        How to reconstruct what is refined; the method must be Tikhonov's.
    annotator : AnnotatorSettings, optional
        A second ControlNet.
    prompt_keeps_measured : bool, optional
        Whether a prompt may change only what was not measured.
    wrong_prompt : str, optional
        A prompt that does not fit the scenes, whose change is compared with the prompt's.
    samples : int, optional
        Pictures to draw of each capture, with seeds one after the other. The first is the result;
        how far the others are from it says where the model had a choice.
    intervals : Conformal, optional
        Calibration of expected errors of refined pictures.

    Raises
    ------
    ValueError
        The camera is not separable, the method another, there are no samples, a wrong prompt has
        no right one beside it, or intervals were calibrated on linear pictures.
    """

    def __init__(
        self,
        camera: Camera,
        refiner: Refiner,
        settings: RefinerSettings | None = None,
        *,
        linear_settings: LinearSettings | None = None,
        annotator: AnnotatorSettings | None = None,
        prompt_keeps_measured: bool = False,
        wrong_prompt: str | None = None,
        samples: int = 1,
        intervals: Conformal | None = None,
    ) -> None:
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        self._samples = samples
        self._intervals = intervals and intervals.checked("refined")
        self.refiner = refiner
        self.settings = settings or refiner.settings
        if wrong_prompt is not None and not self.settings.prompt:
            raise ValueError("wrong_prompt needs a prompt to compare it with, got none")
        self.annotator = annotator
        self.prompt_keeps_measured = prompt_keeps_measured
        self.wrong_prompt = wrong_prompt
        self.linear = LinearPipeline(camera, linear_settings, device=refiner.sample.device)
        factors = self.linear.factors
        if factors is None or self.linear.method != "tikhonov":
            raise ValueError(
                "refining needs Tikhonov's reconstruction of a separable camera, got "
                f"{self.linear.method} for {camera.name!r}, a {camera.kind} camera"
            )
        self._factors = factors
        self._second_controlnet = None
        if annotator is not None:
            self._second_controlnet = load_controlnet(
                annotator.model,
                dtype=next(refiner.parts.unet.parameters()).dtype,
                device=refiner.sample.device,
            )

    def __call__(self, raw: Tensor) -> tuple[LinearScene, Refined]:
        """Refine one raw frame of the camera's frame_shape."""
        scene = self.linear(raw)
        return scene, self.refine(raw, scene)

    def refine(self, raw: Tensor, scene: LinearScene) -> Refined:
        """Refine what was reconstructed from a raw frame."""
        return self._refine(raw, scene, self.settings)

    def draw_samples(self, raw: Tensor, scene: LinearScene, refined: Refined) -> Tensor | None:
        """Draw further pictures of a frame.

        Returns
        -------
        Tensor or None, shape (samples, 3, height, width)
            The refined picture, and one of each further seed; None if there is to be but one.
        """
        if self._samples == 1:
            return None
        seeds = range(self.settings.seed + 1, self.settings.seed + self._samples)
        further = [self._refine(raw, scene, replace(self.settings, seed=seed)) for seed in seeds]
        return torch.cat([each.image for each in (refined, *further)])

    @cached_property
    def trust(self) -> RefinedTrust:
        """What says of this camera's refined pictures how far they can be trusted."""
        camera = self.linear.camera
        return RefinedTrust(self.linear.trust, self._factors, camera.colour_matrix, self._intervals)

    def audit_prompt(
        self, raw: Tensor, scene: LinearScene, refined: Refined, linear_trust: Mapping[str, Any]
    ) -> tuple[Refined, dict[str, Any]]:
        """Say what the prompt changed, and undo it where it was measured, if that is wanted.

        Parameters
        ----------
        raw : Tensor, shape frame_shape
            The raw frame.
        scene : LinearScene
            What was reconstructed from it.
        refined : Refined
            What :meth:`refine` made of that, with a prompt.
        linear_trust : mapping
            What the record of the linear reconstruction says of how far it can be trusted.

        Returns
        -------
        refined : Refined
            The result, changed where ``prompt_keeps_measured``.
        change : dict
            As from :meth:`~barelens.app.refined_trust.RefinedTrust.prompt_change`, of the result,
            and under ``wrong`` of what the wrong prompt makes of it, if there is one.
        """
        plain = self._refine(raw, scene, replace(self.settings, prompt=""))
        image, without = refined.image[0], plain.image[0]
        if self.prompt_keeps_measured:
            image = self.trust.keep_measured(image, without, linear_trust)
            size = (image.shape[-2], image.shape[-1])
            tether = Tether(self.measure(raw, scene), size, refined.white)
            refined = replace(refined, image=image[None], residual=tether.residual(image[None]))
        change: dict[str, Any] = {
            **self.trust.prompt_change(image, without, linear_trust),
            "kept_measured": self.prompt_keeps_measured,
        }
        if self.wrong_prompt is not None:
            other = self._refine(raw, scene, replace(self.settings, prompt=self.wrong_prompt))
            wrong = other.image[0]
            if self.prompt_keeps_measured:
                wrong = self.trust.keep_measured(wrong, without, linear_trust)
            changed = self.trust.prompt_change(wrong, without, linear_trust)
            change["wrong"] = {"prompt": self.wrong_prompt, **changed}
        return refined, change

    def _refine(self, raw: Tensor, scene: LinearScene, settings: RefinerSettings) -> Refined:
        measurement = self.measure(raw, scene)
        linear = scene.rgb[None].to(self.refiner.sample.device)
        return self.refiner(linear, measurement, settings, controls=self._controls(linear))

    @property
    def model_record(self) -> dict[str, Any]:
        """What tells the model apart from others, as JSON data."""
        parts = self.refiner.parts
        return {**asdict(parts.record), "dtype": str(next(parts.unet.parameters()).dtype)}

    def measure(self, raw: Tensor, scene: LinearScene) -> Measurement:
        r"""Say what a frame measured: its capture, and the noise and prior of its penalty.

        A penalty :math:`\lambda` stands for the prior :math:`\tau = \sigma / \sqrt\lambda`.
        """
        camera, device = self.linear.camera, self.refiner.sample.device
        noise, penalty = scene.numbers["noise_std"], scene.numbers["penalty"]
        if None in noise:
            raise ValueError("the capture's noise cannot be estimated: the camera loses nothing")
        noise_std = torch.tensor([noise], device=device)
        return Measurement(
            capture=camera.prepare(raw)[None].to(device),
            factors=self._factors,
            noise_std=noise_std,
            prior_std=noise_std / torch.tensor([penalty], device=device).sqrt(),
            colour_matrix=camera.colour_matrix,
        )

    def _controls(self, linear: Tensor) -> list[Control]:
        if self.annotator is None:
            return []
        size = self.refiner.picture_size((linear.shape[-2], linear.shape[-1]), self.settings)
        picture, _ = to_display(resize(linear, size))
        annotation = annotate(self.annotator.name, picture, weights=self.annotator.weights)
        return [Control(self._second_controlnet, annotation, self.annotator.scale)]
