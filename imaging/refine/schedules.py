"""Samplers from diffusers, and the conversions between what networks predict."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .libraries import need_diffusers

__all__ = ["SCHEDULERS", "Schedule"]

#: diffusers' class and what it shall be told besides the model's own noise schedule.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "unipc": ("UniPCMultistepScheduler", {}),
    # Spaced from the end, few steps start from noise, as the network was trained.
    "ddim": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "dpm++": ("DPMSolverMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}


class Schedule:
    """One run of a sampler.

    Parameters
    ----------
    name : str
        A key of :data:`SCHEDULERS`.
    config : mapping
        Configuration of the noise schedule that the model was trained with.
    prediction : {"epsilon", "v_prediction", "sample"}
        What the network predicts.
    steps : int
        Evaluations of the network.
    strength : float
        Share of the noise schedule to run through, in (0, 1]; the steps lie in its last part.
    device : torch.device or str, optional
        Where to sample.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        prediction: str,
        *,
        steps: int,
        strength: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        kind, options = SCHEDULERS[name]
        scheduler = getattr(need_diffusers(), kind).from_config(
            dict(config), prediction_type=prediction, clip_sample=False, **options
        )
        scheduler.set_timesteps(math.ceil(steps / strength), device=device)
        self._scheduler = scheduler
        self._prediction = prediction
        # Solvers of higher order may split steps in two; of those here none does.
        begin = len(scheduler.timesteps) - steps
        self.timesteps = scheduler.timesteps[begin:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        self._step_takes_generator = "generator" in inspect.signature(scheduler.step).parameters

    def start(self, noise: Tensor, latents: Tensor | None) -> Tensor:
        """Give the first state: noise alone, or latents with noise for the first timestep."""
        if latents is None:
            return noise * self._scheduler.init_noise_sigma
        first = self.timesteps[:1].expand(noise.shape[0])
        return self._scheduler.add_noise(latents, noise, first)

    def run(
        self,
        state: Tensor,
        predict: Callable[[Tensor, Tensor], Tensor],
        generators: Sequence[torch.Generator],
        correct: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Sample.

        Parameters
        ----------
        state : Tensor, shape (batch, channels, height, width)
            From :meth:`start`.
        predict : callable
            The network: (state, timestep) to its prediction.
        generators : sequence of torch.Generator
            One for each item, for samplers that add noise at each step.
        correct : callable, optional
            (index of the step, estimate of the noiseless latents) to a better estimate.

        Returns
        -------
        Tensor, the same shape
            Noiseless latents.
        """
        options = {"generator": list(generators)} if self._step_takes_generator else {}
        for index, timestep in enumerate(self.timesteps):
            prediction = predict(self._scheduler.scale_model_input(state, timestep), timestep)
            if correct is not None:
                clean = self.denoised(prediction, state, timestep)
                prediction = self._prediction_for(correct(index, clean), state, timestep)
            stepped = self._scheduler.step(
                prediction, timestep, state, return_dict=False, **options
            )
            state = stepped[0]
        return state

    def denoised(self, prediction: Tensor, state: Tensor, timestep: Tensor) -> Tensor:
        """Turn a prediction into the noiseless latents that it implies."""
        signal, noise = self._scales(state, timestep)
        if self._prediction == "sample":
            return prediction
        if self._prediction == "v_prediction":
            return signal * state - noise * prediction
        return (state - noise * prediction) / signal

    def _prediction_for(self, clean: Tensor, state: Tensor, timestep: Tensor) -> Tensor:
        """Undo :meth:`denoised`."""
        signal, noise = self._scales(state, timestep)
        if self._prediction == "sample":
            return clean
        if self._prediction == "v_prediction":
            return (signal * state - clean) / noise
        return (state - signal * clean) / noise

    def _scales(self, state: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        power = self._scheduler.alphas_cumprod[int(timestep)].to(state)
        return power.sqrt(), (1 - power).sqrt()
