"""The total-variation picture that a refiner may start from, and what the model is told of it."""

from dataclasses import replace

import pytest
import torch

from barelens.imaging import SeparableFactors, SeparableOperator
from barelens.imaging.bayer import planes_to_rgb, rgb_to_planes
from barelens.imaging.metrics import psnr
from barelens.imaging.refine import Measurement, Refiner, RefinerRecord, RefinerSettings
from barelens.imaging.refine.start import Start, conditioning_channels, total_variation_start
from barelens.imaging.refine.training import ModelSettings, TrainingSettings, build_parts

NOISE = 0.3


def _blocks(batch, size):
    """Flat parts with edges: what total variation is made for."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(batch, 3, 4, 4, generator=generator, dtype=torch.float64)
    return torch.nn.functional.interpolate(coarse, size, mode="nearest")


def _measured(batch=1, size=(32, 40), planes=4, own_matrices=True, noise=NOISE):
    """Capture blocks; noise is relative to the largest gain of one."""
    generator = torch.Generator().manual_seed(1)
    shape = (planes,) if own_matrices else ()
    left, right = (
        torch.randn(*shape, side + 20, side, generator=generator, dtype=torch.float64) / side**0.5
        for side in size
    )
    operator = SeparableOperator(left, right)
    truth = _blocks(batch, size)
    scene = rgb_to_planes(truth) if planes == 4 else truth[:, :planes]
    capture = operator.forward(scene)
    capture = capture + noise * torch.randn(capture.shape, generator=generator, dtype=torch.float64)
    return truth, Measurement(capture, SeparableFactors.of(operator), noise, 0.3)


def _linear(measurement):
    factors = measurement.factors
    gains = factors.gains
    inverse = gains / (gains.square() + (measurement.noise_std / measurement.prior_std) ** 2)
    planes = factors.synthesise(inverse * factors.analyse(measurement.capture))
    return planes_to_rgb(planes) if planes.shape[1] == 4 else planes.expand(-1, 3, -1, -1)


@pytest.mark.parametrize("own_matrices", [True, False])
def test_total_variation_comes_closer_than_the_linear_reconstruction(own_matrices):
    truth, measurement = _measured(own_matrices=own_matrices)
    quality, linear = (
        float(psnr(picture, truth, data_range=1.0).mean())
        for picture in (total_variation_start(measurement), _linear(measurement))
    )
    assert quality > linear + 5


@pytest.mark.parametrize("planes", [1, 3, 4])
def test_every_colour_filter_gives_rgb_and_batches_equal_loops(planes):
    _, measurement = _measured(batch=2, planes=planes)
    together = total_variation_start(measurement)
    assert together.shape == (2, 3, 32, 40) and together.min() >= 0
    for item in range(2):
        part = replace(measurement, capture=measurement.capture[item : item + 1])
        torch.testing.assert_close(total_variation_start(part), together[item : item + 1])


def test_a_colour_matrix_turns_the_start_as_it_does_reconstructions():
    _, measurement = _measured()
    matrix = torch.tensor([[1.2, -0.1, -0.1], [0.0, 1.0, 0.0], [0.1, 0.0, 0.9]]).double()
    plain = total_variation_start(measurement)
    turned = total_variation_start(replace(measurement, colour_matrix=matrix))
    torch.testing.assert_close(turned, torch.einsum("ij,bjhw->bihw", matrix, plain))


@pytest.mark.parametrize("kind", ["linear", "total_variation"])
def test_units_of_scene_and_capture_do_not_matter(kind):
    _, measurement = _measured()
    factors = measurement.factors
    other = Measurement(
        capture=5 * measurement.capture,
        factors=replace(factors, gains=factors.gains * 5 / 7),
        noise_std=5 * NOISE,
        prior_std=7 * 0.3,
    )
    starts = [Start.of(kind, _linear(each), each) for each in (measurement, other)]
    told, again = (start.conditioning() for start in starts)
    assert told.shape == (1, conditioning_channels(kind), 32, 40)
    torch.testing.assert_close(told, again)
    torch.testing.assert_close(7 * starts[0].picture, starts[1].picture)


def test_the_capture_tells_what_total_variation_took_away():
    """Without noise to speak of, the contradiction leads to the truth to first order."""
    truth, measurement = _measured(noise=1e-3)
    start = Start.of("total_variation", _linear(measurement), measurement)
    washed = replace(start, picture=0.98 * start.picture + 0.01)
    contradiction = washed.conditioning()[:, 8:]
    darker = washed.picture < truth - 1e-3
    assert (contradiction[darker] > 0).double().mean() > 0.99
    assert contradiction.abs().max() <= 2


def test_an_untrained_refiner_gives_the_picture_it_starts_from():
    model = ModelSettings(
        start="total_variation",
        block_out_channels=(8, 8),
        norm_num_groups=4,
        embedding_channels=(8,),
        smoothing=0.0,
    )
    parts = build_parts(TrainingSettings(model=model))
    _, measurement = _measured()
    measurement = replace(
        measurement,
        capture=measurement.capture.float(),
        factors=SeparableFactors(
            *(
                getattr(measurement.factors, name).float()
                for name in ("u_left", "u_right", "v_left", "v_right", "gains")
            ),
            mean_free=False,
        ),
    )
    settings = RefinerSettings(steps=1, scheduler="ddim", imagination=1.0)
    refined = Refiner(parts)(_linear(measurement).float(), measurement, settings)
    expected = total_variation_start(measurement)
    expected = torch.minimum(expected, refined.white[:, None, None, None])
    torch.testing.assert_close(refined.image, expected, rtol=1e-4, atol=1e-4)


def test_a_model_of_captures_starts_from_no_total_variation():
    with pytest.raises(ValueError, match="a model of captures has the start 'linear'"):
        RefinerRecord("capture", "latent", start="total_variation")
    with pytest.raises(ValueError, match="start must be one of linear, total_variation"):
        RefinerRecord("linear", "pixel", start="wavelets")
