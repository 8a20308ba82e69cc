"""Samplers, tiles and settings, without a trained network."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging.refine import Control, RefinerSettings
from barelens.imaging.refine.denoiser import Denoiser, tile_starts, tile_window
from barelens.imaging.refine.schedules import SCHEDULERS, Schedule

PREDICTIONS = ("epsilon", "v_prediction", "sample")
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
}


def _generators(count=1):
    return [torch.Generator().manual_seed(0) for _ in range(count)]


def _oracle(schedule, truth):
    """A network that knows the truth, in the terms of any prediction."""
    return lambda state, timestep: schedule._prediction_for(truth, state, timestep)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_perfect_network_leads_to_the_truth(name, steps, prediction):
    truth = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    schedule = Schedule(name, SCHEDULE, prediction, steps=steps)
    assert len(schedule.timesteps) == steps
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    found = schedule.run(schedule.start(noise, None), _oracle(schedule, truth), _generators())
    # TCD ends on the schedule's first noise level, of 3 percent, and not on zero.
    torch.testing.assert_close(found, truth, rtol=0, atol=0.15 if name == "tcd" else 5e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_estimate_and_prediction_are_inverse(prediction):
    schedule = Schedule("ddim", SCHEDULE, prediction, steps=3)
    state, output = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64).unbind()
    for timestep in schedule.timesteps:
        clean = schedule.denoised(output, state, timestep)
        found = schedule._prediction_for(clean, state, timestep)
        torch.testing.assert_close(found, output, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_correction_that_changes_nothing_changes_nothing(name):
    def network(state, timestep):
        return 0.5 * state.tanh()

    runs = []
    for correct in (None, lambda step, clean: clean):
        schedule = Schedule(name, SCHEDULE, "epsilon", steps=4)
        start = schedule.start(torch.ones(1, 1, 4, 4), None)
        runs.append(schedule.run(start, network, _generators(), correct))
    torch.testing.assert_close(*runs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_strength_says_how_much_noise_the_start_gets(name):
    latents, noise = torch.ones(2, 1, 1, 64, 64).unbind()
    noise = torch.randn(noise.shape, generator=torch.Generator().manual_seed(0))
    spread = []
    for strength in (0.1, 0.5, 1.0):
        schedule = Schedule(name, SCHEDULE, "epsilon", steps=4, strength=strength)
        assert len(schedule.timesteps) == 4
        start = schedule.start(noise, latents)
        spread.append(float(start.std()))
    assert spread[0] < 0.5 < spread[1] < spread[2] and spread[2] > 0.9


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_noise_on_the_way_is_each_items_own(name):
    def run(count):
        schedule = Schedule(name, SCHEDULE, "epsilon", steps=4)
        start = schedule.start(torch.ones(count, 1, 4, 4), None)
        return schedule.run(start, lambda state, _: 0.5 * state, _generators(count))

    assert torch.equal(run(3)[2:], run(1))


@given(st.integers(1, 200), st.integers(8, 40), st.integers(0, 7))
def test_tiles_cover_a_side_and_overlap_enough(side, tile, overlap):
    starts = tile_starts(side, tile, overlap)
    assert starts[0] == 0 and (side <= tile or starts[-1] + tile == side)
    gaps = [b - a for a, b in pairwise(starts)]
    assert all(0 < gap <= tile - overlap for gap in gaps)


def test_tile_window_is_one_inside_and_never_zero():
    window = tile_window((16, 20), 4)
    assert window.shape == (16, 20) and window.min() > 0
    assert (window[4:12, 4:16] == 1).all()
    assert torch.equal(window, window.flip(0)) and torch.equal(window, window.flip(1))


def test_tiles_of_a_pointwise_network_are_seamless():
    def unet(state, timestep, **options):
        return (2 * state + options["mid_block_additional_residual"],)

    def controlnet(state, timestep, *, controlnet_cond, conditioning_scale, **options):
        small = torch.nn.functional.avg_pool2d(controlnet_cond, 2)
        return [state], conditioning_scale * small

    state, image = torch.rand(1, 1, 30, 44), torch.rand(1, 1, 60, 88)
    whole, tiled = (
        Denoiser(
            unet, [Control(controlnet, image, 0.5)], torch.zeros(1, 1, 1), tile=tile, overlap=4
        )(state, torch.tensor(1))
        for tile in (None, 16)
    )
    torch.testing.assert_close(tiled, whole)
    expected = 2 * state + 0.5 * torch.nn.functional.avg_pool2d(image, 2)
    torch.testing.assert_close(whole, expected)


def test_guidance_goes_past_the_prompt():
    def unet(state, timestep, *, encoder_hidden_states, **options):
        return (encoder_hidden_states.mean((1, 2))[:, None, None, None].expand_as(state),)

    prompts = torch.ones(2, 1, 1)
    guided = Denoiser(unet, [], 3 * prompts, prompts, guidance_scale=2.5)
    found = guided(torch.zeros(2, 1, 4, 4), torch.tensor(1))
    torch.testing.assert_close(found, torch.full_like(found, 1 + 2.5 * 2))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"scheduler": "magic"}, "unknown scheduler 'magic'; choose one of: unipc, ddim"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"strength": 0.0}, r"strength must be in \(0, 1\]"),
        ({"imagination": 1.5}, r"imagination must be in \[0, 1\]"),
        ({"consistency_steps": -1}, "consistency_steps must be None or at least 0"),
        ({"guidance_scale": 0.5}, "guidance_scale must be at least 1"),
        ({"conditioning_scale": -1.0}, "conditioning_scale must be at least 0"),
        ({"size": (0, 3)}, r"size must be \(height, width\)"),
        ({"tile": 32, "tile_overlap": 32}, "tile_overlap must be from 0 to below tile=32"),
    ],
)
def test_settings_check_themselves(setting, message):
    with pytest.raises(ValueError, match=message):
        RefinerSettings(**setting)


def test_consistency_steps_are_the_last_ones():
    corrected = {
        steps: [RefinerSettings(steps=4, consistency_steps=steps).corrects(i) for i in range(4)]
        for steps in (0, 1, None)
    }
    assert corrected == {0: [False] * 4, 1: [False] * 3 + [True], None: [True] * 4}
