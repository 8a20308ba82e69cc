"""Tests without a truth: uniform under the null, and each fault called by its name."""

import pytest
import torch
from scipy.stats import kstest

from barelens.imaging import MeanRemoval, SeparableOperator, ShapeError, Tikhonov
from barelens.imaging.trust import (
    CameraTest,
    WindowTest,
    benjamini_hochberg,
    check_picture,
    check_sensor_windows,
    estimate_noise_std,
    estimate_prior_std,
    factorise,
    fill_missing,
    judge_picture,
)

NOISE = 0.5


def _normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _captures(operator, scene, count=1, *, seed=0, noise=NOISE):
    return operator.forward(scene) + noise * _normal(count, *operator.capture_shape, seed=seed)


def _moved(operator, rows=1):
    """The same camera with its shadow moved down."""
    return SeparableOperator(operator.phi_left.roll(rows, 0), operator.phi_right).centred()


def _with_patch(scene, size=10, contrast=0.5):
    patched = scene.clone()
    patched[20 : 20 + size, 12 : 12 + size] += contrast * _normal(size, size, seed=9).sign()
    return patched


@pytest.fixture(scope="module")
def plain_operator():
    """The same kind of camera without removal of means, and of an odd size."""
    generator = torch.Generator().manual_seed(5)
    left, right = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((61, 40), (55, 36))
    )
    return SeparableOperator(left, right)


@pytest.mark.parametrize("kind", ["mean_free", "plain"])
def test_p_values_of_a_camera_are_uniform(operator, plain_operator, scene, kind):
    operator = operator if kind == "mean_free" else plain_operator
    fit = CameraTest(factorise(operator))(_captures(operator, scene, 300), 0.6, NOISE)
    assert kstest(fit.level.p_value, "uniform").pvalue > 0.01
    # The larger of two independent standard normal scores.
    assert kstest(torch.special.ndtr(fit.structure).square(), "uniform").pvalue > 0.01
    assert kstest(fit.motion.p_value, "uniform").pvalue > 0.01
    alarms = (fit.miscalibration_p_value < 0.1).double().mean()
    assert alarms == pytest.approx(0.1, abs=0.05)


def test_p_values_of_a_true_picture_are_uniform(operator, factors, scene):
    fit = check_picture(factors, scene, _captures(operator, scene, 300), NOISE, 0.6)
    assert kstest(fit.level.p_value, "uniform").pvalue > 0.01


def test_p_values_of_a_fitted_picture_take_off_what_it_fitted(operator, factors):
    prior, penalty = 0.6, torch.tensor((NOISE / 0.6) ** 2, dtype=torch.float64)
    scenes = prior * _normal(300, *operator.scene_shape, seed=1)
    captures = operator.forward(scenes) + NOISE * _normal(300, *operator.capture_shape, seed=2)
    pictures = Tikhonov(operator, penalty)(captures)
    fitted = check_picture(factors, pictures, captures, NOISE, prior, penalty=penalty)
    assert kstest(fitted.level.p_value, "uniform").pvalue > 0.01
    naive = check_picture(factors, pictures, captures, NOISE, prior)
    assert (naive.level.p_value > 0.999).all()


@pytest.mark.parametrize("relative", [False, True])
def test_p_values_of_windows_are_uniform(operator, factors, scene, relative):
    fit = check_picture(factors, scene, _captures(operator, scene, 60), NOISE, 0.6)
    # Windows that do not overlap; their bases still do, so that every fourth one is taken.
    local = WindowTest(factors, 8, 16)(fit, relative=relative)
    assert kstest(local.p_value.flatten(), "uniform").pvalue > 0.01
    assert (local.dof == local.dof.round()).all()


def test_an_uncertain_noise_level_takes_freedom_away(operator, factors, scene):
    captures = _captures(operator, scene, 200, noise=1.03 * NOISE)
    sure = CameraTest(factors)(captures, 0.6, NOISE)
    unsure = CameraTest(factors)(captures, 0.6, NOISE, uncertainty=0.06)
    assert (unsure.level.dof < sure.level.dof).all()
    assert unsure.level.p_value.median() > 0.05 > sure.level.p_value.median()


def test_faults_are_called_by_their_names(operator, factors, scene):
    clean = _captures(operator, scene, 10, seed=3)
    assert CameraTest(factors)(clean, 0.6, NOISE).verdict() == ["fits"] * 10
    understated = CameraTest(factors)(clean, 0.6, 0.8 * NOISE)
    assert understated.verdict() == ["noise understated"] * 10
    overstated = CameraTest(factors)(clean, 0.6, 1.25 * NOISE)
    assert overstated.verdict() == ["noise overstated"] * 10
    torch.testing.assert_close(overstated.misfit_std, understated.misfit_std, rtol=0.02, atol=0)
    moved = _captures(_moved(operator), scene, 10, seed=3)
    for stated in (NOISE, 0.8 * NOISE, 1.25 * NOISE):
        fit = CameraTest(factors)(moved, 0.6, stated)
        assert fit.verdict() == ["miscalibrated"] * 10


def test_noise_is_estimated_where_it_is_not_stated(operator, factors, scene):
    captures = _captures(operator, scene, 20)
    fit = CameraTest(factors)(captures, 0.6, uncertainty=0.2)
    assert fit.noise_std.mean() == pytest.approx(NOISE, rel=0.03)
    assert fit.verdict() == ["fits"] * 20


def test_noise_estimates_bear_gaps_and_turned_frames():
    noise = 0.3 * _normal(3, 200, 300, seed=4)
    assert estimate_noise_std(noise).numpy() == pytest.approx([0.3] * 3, rel=0.03)
    damaged = noise.clone()
    damaged[:, 50:55] = 40.0
    damaged[:, 120, ::7] = 1e6
    assert estimate_noise_std(damaged).numpy() == pytest.approx([0.3] * 3, rel=0.1)
    valid = damaged.abs() < 10
    known = estimate_noise_std(damaged, valid=valid)
    assert known.numpy() == pytest.approx([0.3] * 3, rel=0.03)
    assert estimate_noise_std(damaged[1], valid=valid[1]) == known[1]
    # Averaging neighbours leaves a half of the variance and makes them correlate by a half.
    for axis in (-2, -1):
        noise = (noise + noise.roll(1, axis)) / 2
    found = estimate_noise_std(noise, neighbour_correlation=0.5)
    assert found.numpy() == pytest.approx([0.15] * 3, rel=0.03)


def test_prior_is_the_strength_of_the_scene(operator, factors, scene):
    found = estimate_prior_std(factors, _captures(operator, scene, 3, noise=0.05), 0.05)
    assert found.numpy() == pytest.approx([float(scene.square().mean().sqrt())] * 3, rel=0.05)
    nothing = estimate_prior_std(factors, torch.zeros(operator.capture_shape).double(), NOISE)
    assert nothing > 0


def test_a_pasted_patch_is_found_where_it_is(operator, factors, scene):
    capture = _captures(operator, scene)[0]
    camera, windows = CameraTest(factors), WindowTest(factors, 8)
    true = judge_picture(scene, capture, camera, windows, noise_std=NOISE)
    assert true.verdict == "consistent"
    assert true.camera_verdict == "fits"
    assert not true.found.any()
    pasted = judge_picture(_with_patch(scene), capture, camera, windows, noise_std=NOISE)
    assert pasted.verdict == "hallucination"
    strongest = pasted.windows.energy.flatten().argmax().item()
    row, column = divmod(strongest, pasted.windows.energy.shape[1])
    assert (row * 4 + 4, column * 4 + 4) == (pytest.approx(25, abs=6), pytest.approx(17, abs=6))


def test_strong_objects_do_not_drag_others_along(operator, factors, scene):
    """The brighter the object, the more it shows in windows far away; they are not found."""
    windows = WindowTest(factors, 8, 4)
    fit = check_picture(
        factors, _with_patch(scene, 8, 30.0), _captures(operator, scene)[0], NOISE, 0.6
    )
    leaking = benjamini_hochberg(windows(fit, relative=True).p_value.flatten(), 1e-3)[0]
    found = windows.find(fit).nonzero() * 4
    # The object covers rows 20 to 27 and columns 12 to 19.
    assert ((found[:, 0] - 20).abs() <= 8).all()
    assert ((found[:, 1] - 12).abs() <= 8).all()
    assert 1 <= len(found) < int(leaking.sum())


def test_miscalibration_is_no_hallucination(operator, factors, scene):
    camera, windows = CameraTest(factors), WindowTest(factors, 8)
    for seed in range(5):
        capture = _captures(_moved(operator), scene, seed=seed)[0]
        picture = Tikhonov(operator, 1.0)(capture)
        verdict = judge_picture(picture, capture, camera, windows, noise_std=NOISE)
        assert verdict.verdict == "miscalibration"


def test_judging_planes_together(colour_operator, scene):
    factors = factorise(colour_operator)
    camera, windows = CameraTest(factors), WindowTest(factors, 8)
    planes = scene.expand(4, -1, -1)
    capture = _captures(colour_operator, planes)[0]
    judged = judge_picture(planes, capture, camera, windows, noise_std=NOISE)
    assert judged.verdict == "consistent"
    patched = _with_patch(scene).expand(4, -1, -1)
    judged = judge_picture(patched, capture, camera, windows, noise_std=NOISE)
    assert judged.verdict == "hallucination"
    assert judged.windows.energy.ndim == 2
    with pytest.raises(ShapeError, match="one capture"):
        judge_picture(planes[None], capture[None], camera, windows)


def test_windows_say_where_nothing_is_seen(operator, scene):
    # A camera that is blind for the left third of the scene.
    right = operator.phi_right.clone()
    right[:, :12] = 0
    blind = SeparableOperator(operator.phi_left, right).centred()
    factors = factorise(blind)
    fit = check_picture(factors, _with_patch(scene), _captures(blind, scene)[0], NOISE, 0.6)
    local = WindowTest(factors, 6, 6)(fit)
    assert local.p_value[:, :2].isnan().all()
    assert local.faintest[:, :2].isinf().all()
    assert local.p_value[:, 2:].isfinite().all()
    assert (local.faintest[:, 2:] < 1).all()


def test_faintest_object_is_found_in_half_of_the_cases(operator, factors, scene):
    windows = WindowTest(factors, 8, 8)
    captures = _captures(operator, scene, 300)
    faintest = float(windows(check_picture(factors, scene, captures[0], NOISE, 0.6)).faintest[2, 1])
    objects = torch.zeros(300, *scene.shape, dtype=torch.float64)
    objects[:, 16:24, 8:16] = faintest * _normal(300, 8, 8, seed=7)
    found = windows(check_picture(factors, scene + objects, captures, NOISE, 0.6)).p_value[:, 2, 1]
    assert (found < 1e-3).double().mean() == pytest.approx(0.5, abs=0.12)


def test_sensor_windows_find_a_stain(operator, factors, scene):
    captures = _captures(operator, scene, 30)
    camera = CameraTest(factors)
    fit = camera(captures, 0.6, NOISE, keep_residual=True)
    freedom = float(fit.level.dof[0]) / captures[0].numel()
    clean = check_sensor_windows(fit.residual, fit.noise_std, window=12, freedom=freedom)
    assert benjamini_hochberg(clean.p_value.flatten(1), 0.01)[0].any(-1).double().mean() < 0.1
    captures[:, 12:24, 24:36] += 2 * NOISE * _normal(12, 12, seed=8)
    residual = camera(captures, 0.6, NOISE, keep_residual=True).residual
    stained = check_sensor_windows(residual, fit.noise_std, window=12, freedom=freedom)
    assert (stained.energy.flatten(1).argmax(-1) == 1 * stained.energy.shape[-1] + 2).all()


def test_what_is_known_already_changes_nothing(colour_operator):
    factors = factorise(colour_operator)
    scene = _normal(*colour_operator.scene_shape, seed=1)
    capture = _captures(colour_operator, scene)[0]
    camera, spectral = CameraTest(factors), factors.spectral(capture)
    means = 3 + _normal(*capture.shape[:-1], 1, seed=2)  # which a mean-free camera does not see
    bare = MeanRemoval(capture.shape).forward(capture)
    for stated in (NOISE, None):
        expected = camera(capture, 0.6, stated)
        for taken, known in (
            (capture, {"spectral": spectral}),
            (capture + means, {}),
            (bare, {"centred": True}),
        ):
            found = camera(taken, 0.6, stated, **known, keep_residual=True)
            for name in ("noise_std", "misfit_std", "structure", "miscalibration_p_value"):
                torch.testing.assert_close(getattr(found, name), getattr(expected, name))
            energy = found.residual.square().sum((-2, -1)) / found.noise_std.square()
            assert expected.residual is None
            torch.testing.assert_close(energy / found.level.ratio, _expected_energy(found))
    expected = check_picture(factors, scene, capture, NOISE, 0.6)
    spectrum = factors.decompose(scene)
    found = check_picture(factors, scene, capture, NOISE, 0.6, spectral=spectral, spectrum=spectrum)
    torch.testing.assert_close(found.whitened, expected.whitened)


def _expected_energy(fit):
    """Of the residual over the noise variance, under noise alone."""
    shape = fit.residual.shape
    modes = fit.rejected.shape[-2] * fit.rejected.shape[-1]
    return (shape[-2] - 1) * (shape[-1] - 1) - modes + fit.rejected.square().sum((-2, -1))


def test_batch_equals_loop(colour_operator):
    factors = factorise(colour_operator)
    scenes = _normal(3, *colour_operator.scene_shape, seed=1)
    captures = _captures(colour_operator, scenes[0], 3)
    windows = WindowTest(factors, 6)
    fits = CameraTest(factors)(captures, 0.6, NOISE)
    pictures = check_picture(factors, scenes, captures, NOISE, 0.6)
    local = windows(pictures, relative=True)
    estimated = CameraTest(factors)(captures, 0.6).noise_std
    for k in range(3):
        alone = CameraTest(factors)(captures[k], 0.6).noise_std
        torch.testing.assert_close(alone, estimated[k])
        fit = CameraTest(factors)(captures[k], 0.6, NOISE)
        torch.testing.assert_close(fit.level.p_value, fits.level.p_value[k])
        torch.testing.assert_close(fit.structure, fits.structure[k])
        picture = check_picture(factors, scenes[k], captures[k], NOISE, 0.6)
        torch.testing.assert_close(picture.level.ratio, pictures.level.ratio[k])
        alone = windows(picture, relative=True)
        torch.testing.assert_close(alone.p_value, local.p_value[k], equal_nan=True)


def test_missing_samples_are_filled_by_the_rest(operator, factors, scene):
    captures = _captures(operator, scene, 200)
    valid = torch.ones(operator.capture_shape, dtype=torch.bool)
    valid[30:33] = False
    valid[5, 10:40:3] = False
    damaged = torch.where(valid, captures, 37.0)
    spoilt = CameraTest(factors)(damaged, 0.6, NOISE)
    assert spoilt.verdict() == ["miscalibrated"] * 200
    filled = fill_missing(factors, damaged, valid, NOISE, 0.6)
    torch.testing.assert_close(filled[:, valid], captures[:, valid])
    fit = CameraTest(factors)(filled, 0.6, NOISE, valid=valid)
    assert fit.verdict().count("fits") >= 195
    assert 0.01 < fit.level.p_value.median() < 0.99
    # The reconstruction is nearly as good as of the whole capture.
    tikhonov = Tikhonov(operator, (NOISE / 0.6) ** 2)
    error = (tikhonov(filled) - tikhonov(captures)).norm()
    assert error < 0.1 * (tikhonov(damaged) - tikhonov(captures)).norm()
    with pytest.raises(ValueError, match="valid must hold true samples"):
        fill_missing(factors, damaged, torch.zeros_like(valid), NOISE, 0.6)


def test_filling_knows_the_means_that_were_removed(operator, factors, scene):
    """A mean-free camera's capture with means of its own, as the file holds it."""
    means = _normal(operator.capture_shape[0], 1, seed=5) + _normal(
        operator.capture_shape[1], seed=6
    )
    capture = _captures(operator, scene)[0]
    valid = torch.ones(operator.capture_shape, dtype=torch.bool)
    valid[30, 5:20] = False
    plain = fill_missing(factors, capture, valid, NOISE, 0.6, iterations=60)
    with_means = fill_missing(factors, capture + 50 * means, valid, NOISE, 0.6, iterations=60)
    torch.testing.assert_close(with_means - 50 * means, plain, atol=1e-3, rtol=0)


def test_false_discoveries_stay_below_the_rate():
    generator = torch.Generator().manual_seed(0)
    null = torch.rand(2000, 90, generator=generator, dtype=torch.float64)
    real = 1e-4 * torch.rand(2000, 10, generator=generator, dtype=torch.float64)
    found, adjusted = benjamini_hochberg(torch.cat([null, real], -1), 0.1)
    share = found[:, :90].sum(-1) / found.sum(-1).clamp_min(1)
    assert 0.05 < share.mean() < 0.1
    assert found[:, 90:].double().mean() > 0.99
    assert ((adjusted <= 0.1) == found).all()
    known = torch.tensor([0.01, torch.nan, 0.02, 0.9], dtype=torch.float64)
    found, adjusted = benjamini_hochberg(known, 0.05)
    assert found.tolist() == [True, False, True, False]
    assert adjusted[0] == pytest.approx(0.03)
    assert adjusted[1].isnan()


def test_wrong_arguments_are_named(operator, factors, scene):
    from barelens.imaging import ConvolutionOperator

    capture = _captures(operator, scene)[0]
    with pytest.raises(ShapeError, match="capture must have shape"):
        CameraTest(factors)(capture[1:], 0.6, NOISE)
    with pytest.raises(TypeError, match="separable camera"):
        CameraTest(factorise(ConvolutionOperator(scene)))
    with pytest.raises(ShapeError, match="picture must have shape"):
        check_picture(factors, scene[1:], capture, NOISE, 0.6)
    with pytest.raises(ValueError, match="window must be from 1 to 36"):
        WindowTest(factors, 37)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        WindowTest(factors, 8, 0)
    with pytest.raises(ValueError, match="rate must be in"):
        benjamini_hochberg(torch.rand(3), 0)
