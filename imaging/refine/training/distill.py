"""Distillation: teaching a refiner to take in one step what took it several."""

import torch
from torch import Tensor, nn

from ..parts import RefinerParts
from .batches import Batch
from .model import TrainingModel
from .objectives import Noising, NoisyBatch, mean_square

__all__ = ["DistillationObjective"]


class DistillationObjective:
    r"""Match one deterministic step of the student to several of its teacher.

    The student walks the noise schedule in ``student_steps`` equal strides. From a noisy picture
    at the start of a stride the teacher takes ``teacher_steps`` small DDIM steps to its end. With
    :math:`x_t = a_t x + b_t \epsilon`, the estimate of :math:`x` that leads from :math:`x_t` to the
    teacher's :math:`x_s` at once is

    .. math:: \hat x = \frac{x_s - (b_s / b_t) x_t}{a_s - (b_s / b_t) a_t} ,

    and the student learns to give that.

    Parameters
    ----------
    student : RefinerParts
        What is trained; it starts as a copy of the teacher.
    teacher : RefinerParts
        A trained refiner, left as it is.
    student_steps : int, optional
        Steps that the student shall need, 1 to 4.
    teacher_steps : int, optional
        Steps of the teacher for each of the student's, at least 2.

    Raises
    ------
    ValueError
        A number of steps is out of range.

    References
    ----------
    Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022.
    """

    def __init__(
        self,
        student: RefinerParts,
        teacher: RefinerParts,
        *,
        student_steps: int = 4,
        teacher_steps: int = 4,
    ) -> None:
        if not 1 <= student_steps <= 4:
            raise ValueError(f"student_steps must be from 1 to 4, got {student_steps}")
        if teacher_steps < 2:
            raise ValueError(f"teacher_steps must be at least 2, got {teacher_steps}")
        self._strides, self._small = student_steps, teacher_steps
        self._noising = Noising(student)
        self._kind = self._noising.schedule.config.prediction_type
        self._teacher = TrainingModel(teacher).eval().requires_grad_(False)
        # Spaced from the end as DDIM does it, so that the student's own steps are among them.
        number, total = student_steps * teacher_steps, self._noising.last + 1
        steps = torch.arange(number, dtype=torch.float64)
        self._grid = (total * (1 - steps / number)).round().long() - 1
        power = self._noising.schedule.alphas_cumprod
        # Behind the last step is the clean picture.
        power = torch.cat([power[self._grid], power.new_ones(1)]).float()
        self._signal, self._noise = power.sqrt(), (1 - power).sqrt()

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Give the loss of each example; its level decides the stride it is in."""
        self._teacher.to(batch.picture.device)
        stride = (self._strides * (1 - batch.level)).long().clamp(0, self._strides - 1)
        start = self._small * stride
        noisy = self._noising(batch, self._grid.to(start.device)[start])
        target = self._teachers_estimate(noisy, start)
        prediction, _ = model(noisy.noisy, noisy.timesteps, noisy.prompts, noisy.conditioning)
        return mean_square(self._clean(prediction.float(), noisy.noisy, start) - target)

    @torch.no_grad()
    def _teachers_estimate(self, noisy: NoisyBatch, start: Tensor) -> Tensor:
        """Let the teacher walk each example's stride, and sum the walk up as one step."""
        state, here = noisy.noisy, start
        for _ in range(self._small):
            timesteps = self._grid.to(here.device)[here]
            prediction, _ = self._teacher(state, timesteps, noisy.prompts, noisy.conditioning)
            clean = self._clean(prediction.float(), state, here)
            state = self._stepped(clean, state, here, here + 1)
            here = here + 1
        ratio = self._at(self._noise, here) / self._at(self._noise, start)
        scale = self._at(self._signal, here) - ratio * self._at(self._signal, start)
        return (state - ratio * noisy.noisy) / scale

    def _stepped(self, clean: Tensor, state: Tensor, here: Tensor, there: Tensor) -> Tensor:
        """Take one deterministic step."""
        noise = (state - self._at(self._signal, here) * clean) / self._at(self._noise, here)
        return self._at(self._signal, there) * clean + self._at(self._noise, there) * noise

    def _clean(self, prediction: Tensor, state: Tensor, here: Tensor) -> Tensor:
        """Turn a prediction into the clean samples it implies."""
        signal, noise = self._at(self._signal, here), self._at(self._noise, here)
        if self._kind == "sample":
            return prediction
        if self._kind == "v_prediction":
            return signal * state - noise * prediction
        return (state - noise * prediction) / signal

    @staticmethod
    def _at(values: Tensor, places: Tensor) -> Tensor:
        return values.to(places.device)[places][:, None, None, None]
