import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from barelens.imaging.metrics import align_gain, correlation, mse, nmse, psnr, ssim
from barelens.imaging.shapes import ShapeError

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
sides = st.integers(11, 24)
exact = {"rtol": 1e-12, "atol": 1e-12}

METRICS = {
    "mse": mse,
    "nmse": nmse,
    "psnr": lambda image, reference: psnr(image, reference, data_range=2.0),
    "ssim": lambda image, reference: ssim(image, reference, data_range=2.0),
    "correlation": correlation,
}


def pair(seed, *shape, dtype=torch.float64):
    """A reference and an image that resembles it."""
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(shape, generator=generator, dtype=dtype)
    return reference + 0.2 * torch.randn(shape, generator=generator, dtype=dtype), reference


@few
@given(seeds, st.sampled_from([1, 3, 4]), sides, sides, st.sampled_from([1.0, 255.0, 4095.0]))
def test_ssim_and_psnr_equal_scikit_image(seed, channels, height, width, data_range):
    image, reference = (data_range * tensor for tensor in pair(seed, channels, height, width))
    wanted = structural_similarity(
        image.numpy(),
        reference.numpy(),
        data_range=data_range,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert abs(float(ssim(image, reference, data_range=data_range)) - wanted) < 1e-10
    wanted = peak_signal_noise_ratio(reference.numpy(), image.numpy(), data_range=data_range)
    assert math.isclose(float(psnr(image, reference, data_range=data_range)), wanted)


@given(seeds, st.sampled_from([1, 3]))
def test_mse_nmse_and_correlation_equal_numpy(seed, channels):
    image, reference = pair(seed, channels, 5, 7)
    x, y = image.numpy(), reference.numpy()
    assert math.isclose(float(mse(image, reference)), np.mean((x - y) ** 2))
    assert math.isclose(float(nmse(image, reference)), np.sum((x - y) ** 2) / np.sum(y**2))
    wanted = np.corrcoef(x.ravel(), y.ravel())[0, 1]
    assert math.isclose(float(correlation(image, reference)), wanted, abs_tol=1e-12)


@pytest.mark.parametrize("name", METRICS)
@few
@given(seeds, st.lists(st.integers(1, 3), max_size=2))
def test_a_batch_equals_a_loop(name, seed, batch):
    image, reference = pair(seed, *batch, 3, 12, 13)
    metric = METRICS[name]
    together = metric(image, reference)
    assert together.shape == tuple(batch)
    alone = (
        [metric(x, y) for x, y in zip(image.flatten(0, -4), reference.flatten(0, -4), strict=True)]
        if batch
        else [metric(image, reference)]
    )
    torch.testing.assert_close(together.flatten(), torch.stack(alone), **exact)


@pytest.mark.parametrize("name", ["ssim", "correlation", "mse"])
@few
@given(seeds)
def test_these_metrics_are_symmetric(name, seed):
    image, reference = pair(seed, 3, 12, 13)
    metric = METRICS[name]
    torch.testing.assert_close(metric(image, reference), metric(reference, image), **exact)


@few
@given(seeds)
def test_equal_images_are_perfect(seed):
    _, image = pair(seed, 2, 3, 12, 13)
    one = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(ssim(image, image, data_range=1.0), one, **exact)
    torch.testing.assert_close(correlation(image, image), one, **exact)
    assert (psnr(image, image, data_range=1.0) == math.inf).all()
    assert (mse(image, image) == 0).all() and (nmse(image, image) == 0).all()


@given(seeds, st.floats(0.01, 100), st.floats(-10, 10))
def test_correlation_does_not_see_gain_and_offset(seed, gain, offset):
    image, reference = pair(seed, 3, 5, 7)
    unchanged = correlation(image, reference)
    torch.testing.assert_close(
        correlation(gain * image + offset, reference), unchanged, rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(correlation(-gain * image, reference), -unchanged, **exact)


@given(seeds)
def test_correlation_per_channel_is_that_of_each_channel(seed):
    image, reference = pair(seed, 2, 3, 5, 7)
    alone = [correlation(image[:, [c]], reference[:, [c]]) for c in range(3)]
    torch.testing.assert_close(
        correlation(image, reference, per_channel=True), torch.stack(alone, -1), **exact
    )


@given(seeds, st.floats(0.1, 10))
def test_psnr_and_ssim_do_not_depend_on_the_unit(seed, unit):
    image, reference = pair(seed, 3, 12, 13)
    for metric in (psnr, ssim):
        torch.testing.assert_close(
            metric(unit * image, unit * reference, data_range=unit),
            metric(image, reference, data_range=1.0),
            rtol=1e-9,
            atol=1e-9,
        )


@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
def test_align_gain_finds_the_exposure_it_was_given(seed, gain, offset):
    _, image = pair(seed, 2, 3, 5, 7)
    fitted = align_gain(image, gain * image + offset)
    torch.testing.assert_close(fitted.gain, torch.full((2,), gain, dtype=torch.float64))
    torch.testing.assert_close(
        fitted.offset, torch.full((2,), offset, dtype=torch.float64), rtol=1e-7, atol=1e-9
    )
    torch.testing.assert_close(fitted.image, gain * image + offset)
    without = align_gain(image, gain * image, offset=False)
    torch.testing.assert_close(without.gain, torch.full((2,), gain, dtype=torch.float64))
    assert (without.offset == 0).all()


@few
@given(seeds, st.booleans())
def test_align_gain_is_the_best_there_is(seed, offset):
    image, reference = pair(seed, 3, 5, 7)
    fitted = align_gain(image, reference, offset=offset)
    torch.testing.assert_close(fitted.image, fitted.gain * image + fitted.offset)
    best = mse(fitted.image, reference)
    assert best <= mse(image, reference)
    for gain, shift in ((1e-3, 0), (-1e-3, 0), *(((0, 1e-3), (0, -1e-3)) if offset else ())):
        other = (fitted.gain + gain) * image + fitted.offset + shift
        assert mse(other, reference) > best


def test_align_gain_of_a_constant_image_is_the_mean_of_the_reference():
    reference = torch.tensor([[[1.0, 3.0]]])
    fitted = align_gain(torch.full((1, 1, 2), 7.0), reference)
    assert fitted.gain == 0 and fitted.offset == 2
    assert align_gain(torch.zeros(1, 1, 2), reference, offset=False).gain == 0


@pytest.mark.parametrize("name", METRICS)
def test_metrics_keep_the_dtype_and_have_gradients(name):
    image, reference = pair(0, 3, 12, 13, dtype=torch.float32)
    image.requires_grad_(True)
    value = METRICS[name](image, reference)
    assert value.dtype == torch.float32
    value.backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().max() > 0


@pytest.mark.parametrize("name", METRICS)
def test_metrics_refuse_what_they_cannot_compare(name):
    metric = METRICS[name]
    image = torch.zeros(3, 12, 13)
    with pytest.raises(ShapeError, match=r"\(3, 12, 13\) and \(1, 12, 13\)"):
        metric(image, image[:1])
    with pytest.raises(ShapeError, match="channels, height, width"):
        metric(image[0], image[0])
    with pytest.raises(TypeError, match="reference must have a real floating-point dtype"):
        metric(image, image.byte())


def test_data_range_must_be_given_and_positive():
    image = torch.zeros(3, 12, 13)
    for metric in (psnr, ssim):
        with pytest.raises(TypeError, match="data_range"):
            metric(image, image)
        with pytest.raises(ValueError, match="data_range must be positive, got 0"):
            metric(image, image, data_range=0)
    with pytest.raises(ShapeError, match="at least 11 pixels"):
        ssim(image[..., :10], image[..., :10], data_range=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", METRICS)
def test_a_gpu_gives_what_the_cpu_gives(name):
    image, reference = pair(0, 4, 3, 64, 65, dtype=torch.float32)
    on_gpu = METRICS[name](image.cuda(), reference.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), METRICS[name](image, reference), rtol=1e-4, atol=1e-5)
