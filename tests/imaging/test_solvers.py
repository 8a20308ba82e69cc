"""Laws of the solvers: closed form equals iteration, batches equal loops, minima are minima."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import (
    ConvolutionOperator,
    MeanRemoval,
    SeparableFactors,
    SeparableOperator,
    ShapeError,
    Tikhonov,
    admm_tv,
    conjugate_gradient,
    fista,
    nonnegative_prox,
    plug_and_play,
    total_variation,
    tv_prox,
    tv_regulariser,
)

SEEDS = st.integers(0, 2**31)


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _separable(seed: int = 0, sensor=(15, 12), scene=(6, 7)) -> SeparableOperator:
    return SeparableOperator(
        _random(seed, 4, sensor[0], scene[0]), _random(seed + 1, 4, sensor[1], scene[1])
    )


def _convolution(size=(11, 12)) -> ConvolutionOperator:
    return ConvolutionOperator(_random(0, 2, *size).abs())


OPERATORS = {"separable": _separable, "convolution": _convolution}

SOLVERS = {
    "conjugate gradient": lambda operator, y, **kw: conjugate_gradient(operator, y, **kw),
    "FISTA": lambda operator, y, **kw: fista(operator, y, **kw),
    "FISTA with TV": lambda operator, y, **kw: fista(operator, y, tv_regulariser(0.05), **kw),
    "ADMM": lambda operator, y, **kw: admm_tv(operator, y, weight=0.05, **kw),
    "ADMM, anisotropic": lambda operator, y, **kw: admm_tv(
        operator, y, weight=0.05, kind="anisotropic", **kw
    ),
    "plug and play": lambda operator, y, **kw: plug_and_play(
        operator, y, lambda scene, noise_std: scene / (1 + noise_std), noise_std=0.1, **kw
    ),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]()


@pytest.fixture(params=SOLVERS)
def solver(request):
    return SOLVERS[request.param]


@given(
    seed=SEEDS,
    sensor=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    scene=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    penalty=st.floats(1e-1, 10),
)
def test_tikhonov_equals_conjugate_gradients(seed, sensor, scene, penalty):
    operator = _separable(seed, sensor, scene)
    capture = _random(seed + 2, 3, *operator.capture_shape)
    closed = Tikhonov(operator, penalty)(capture)
    iterated = conjugate_gradient(
        operator, capture, penalty=penalty, iterations=2000, tolerance=1e-13
    ).scene
    torch.testing.assert_close(closed, iterated, rtol=1e-8, atol=1e-8)


def test_tikhonov_recovers_a_noiseless_scene():
    operator = _separable(sensor=(40, 31), scene=(9, 8))
    scene = _random(5, 2, *operator.scene_shape)
    recovered = Tikhonov(operator, 1e-10)(operator.forward(scene))
    torch.testing.assert_close(recovered, scene, rtol=1e-8, atol=1e-8)


def test_tikhonov_ignores_the_means_a_centred_camera_removes():
    operator = _separable().centred()
    capture = _random(1, *operator.capture_shape)
    offset = capture + 1e3 * _random(2, 4, 15, 1) + 1e3 * _random(3, 4, 1, 12)
    for penalty in (0.3, "gcv", "sure", "discrepancy"):
        tikhonov = Tikhonov(operator, penalty)
        plain, shifted = tikhonov.solve(capture), tikhonov.solve(offset)
        torch.testing.assert_close(plain.scene, shifted.scene, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(plain.residual, shifted.residual, rtol=1e-6, atol=1e-8)


def test_tikhonov_scales_with_the_capture():
    operator = _separable()
    capture = _random(4, *operator.capture_shape)
    for penalty in (0.5, "gcv", "sure", "discrepancy"):
        tikhonov = Tikhonov(operator, penalty)
        torch.testing.assert_close(
            tikhonov(3 * capture), 3 * tikhonov(capture), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("penalty", [0.7, "gcv", "sure", "discrepancy"])
def test_tikhonov_batch_equals_loop(penalty):
    operator = _separable()
    captures = _random(6, 2, 3, *operator.capture_shape)
    tikhonov = Tikhonov(operator, penalty)
    looped = torch.stack([torch.stack([tikhonov(item) for item in row]) for row in captures])
    torch.testing.assert_close(tikhonov(captures), looped, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("centred", [False, True])
def test_modes_that_a_camera_does_not_see_make_no_difference(centred):
    """One side of rank 3, the other of rank 4 in two planes and 2 in the others."""
    left = _random(0, 4, 15, 3) @ _random(1, 4, 3, 6)
    right = _random(2, 4, 12, 4) @ _random(3, 4, 4, 7)
    right[:2] = _random(2, 2, 12, 2) @ _random(3, 2, 2, 7)
    operator = SeparableOperator(left, right)
    operator = operator.centred() if centred else operator
    whole = SeparableFactors.of(operator)
    trimmed = whole.trimmed()
    assert whole.gains.shape == (4, 6, 7)
    assert trimmed.gains.shape == (4, 3, 4)
    assert (trimmed.scene_shape, trimmed.capture_shape) == (whole.scene_shape, whole.capture_shape)
    capture = _random(4, 2, *operator.capture_shape)
    for penalty in (0.3, "gcv"):
        expected = Tikhonov(operator, penalty, factors=whole).solve(capture)
        found = Tikhonov(operator, penalty).solve(capture)
        for name in ("scene", "penalty", "residual", "noise_std", "effective_parameters"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name))


def test_a_captures_coefficients_can_be_used_again():
    operator = _separable().centred()
    factors = SeparableFactors.of(operator)
    captures = _random(5, 3, *operator.capture_shape)
    spectral = Tikhonov(operator, 0.3, factors=factors).solve(captures).spectral
    torch.testing.assert_close(spectral.coefficients, factors.analyse(captures))
    one = factors.spectral(captures[1])
    removed = MeanRemoval(operator.capture_shape).forward(captures[1])
    torch.testing.assert_close(factors.spectral(removed, centred=True).unreachable, one.unreachable)
    torch.testing.assert_close(spectral.item(1).coefficients, one.coefficients)
    torch.testing.assert_close(spectral.item(1).unreachable, one.unreachable)
    scene = _random(6, *operator.scene_shape)  # of as many samples as there are modes
    torch.testing.assert_close(factors.synthesise(factors.decompose(scene)), scene)
    expected = factors.gains * factors.decompose(scene)
    torch.testing.assert_close(factors.analyse(operator.forward(scene)), expected)


def test_tikhonov_residual_is_that_of_its_scene():
    operator = _separable()
    capture = _random(7, 2, *operator.capture_shape)
    solution = Tikhonov(operator, 0.4).solve(capture)
    misfit = (operator.forward(solution.scene) - capture).norm(dim=(-2, -1))
    torch.testing.assert_close(solution.residual, misfit / capture.norm(dim=(-2, -1)))


def test_one_penalty_for_each_channel():
    operator = _separable()
    capture = _random(8, *operator.capture_shape)
    penalties = torch.tensor([0.1, 0.2, 0.4, 0.8], dtype=torch.float64)
    together = Tikhonov(operator, penalties).solve(capture)
    for channel, penalty in enumerate(penalties):
        alone = Tikhonov(operator, float(penalty)).solve(capture)
        for name in ("scene", "penalty", "relative_penalty", "residual", "effective_parameters"):
            values, wanted = getattr(together, name), getattr(alone, name)
            assert values.shape == wanted.shape
            torch.testing.assert_close(values[channel], wanted[channel])


def test_effective_parameters_are_the_trace_of_the_influence_matrix():
    operator = _separable()
    sensor = operator.capture_shape[1:]
    units = torch.eye(sensor[0] * sensor[1], dtype=torch.float64).reshape(-1, 1, *sensor)
    units = units.expand(-1, 4, -1, -1)
    tikhonov = Tikhonov(operator, 0.4)
    trace = (operator.forward(tikhonov(units)) * units).sum((0, -2, -1))
    found = tikhonov.solve(_random(8, 2, *operator.capture_shape)).effective_parameters
    torch.testing.assert_close(found, trace.expand(2, 4))


@pytest.mark.parametrize(("rule", "margin"), [("gcv", 1.05), ("sure", 1.05), ("discrepancy", 1.5)])
def test_automatic_penalty_predicts_the_capture_nearly_as_well_as_the_best(rule, margin):
    # Blurred, so that the penalty matters: without one the noise wins by orders of magnitude.
    grid = torch.linspace(0, 1, 60, dtype=torch.float64)
    blur = torch.exp(-((grid[:, None] - grid[None, ::2]) ** 2) / (2 * 0.03**2))
    operator = SeparableOperator(blur, blur)
    scene = torch.outer(torch.sin(9 * grid[::2]), torch.cos(7 * grid[::2]))
    clean = operator.forward(scene)
    capture = clean + 0.02 * clean.std() * _random(9, *operator.capture_shape)

    def error(reconstruction):
        return float((operator.forward(reconstruction) - clean).norm())

    best = min(error(Tikhonov(operator, 10.0 ** (k / 4))(capture)) for k in range(-24, 8))
    solution = Tikhonov(operator, rule).solve(capture)
    assert error(solution.scene) < margin * best
    noise = float(capture.sub(clean).std())
    assert float(solution.noise_std) == pytest.approx(noise, rel=0.05)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [(0.0, "penalty must be positive"), (-1.0, "penalty must be positive"), ("best", "'best'")],
)
def test_bad_penalty_is_named(penalty, message):
    with pytest.raises(ValueError, match=message):
        Tikhonov(_separable(), penalty)


def test_noise_that_cannot_be_estimated_is_asked_for():
    operator = _separable(sensor=(4, 4), scene=(4, 4))
    capture = _random(0, *operator.capture_shape)
    with pytest.raises(ValueError, match="pass noise_std"):
        Tikhonov(operator, "sure")(capture)
    assert Tikhonov(operator, "sure", noise_std=0.1).solve(capture).noise_std.isnan().all()


def test_tikhonov_wants_a_separable_camera():
    with pytest.raises(TypeError, match="SeparableOperator, got ConvolutionOperator"):
        Tikhonov(_convolution())


def test_iterative_batch_equals_loop(solver, operator):
    captures = _random(10, 2, 2, *operator.capture_shape).abs()
    together = solver(operator, captures, iterations=15, tolerance=1e-2)
    assert together.scene.shape == (2, 2, *operator.scene_shape)
    for row in range(2):
        for column in range(2):
            alone = solver(operator, captures[row, column], iterations=15, tolerance=1e-2)
            torch.testing.assert_close(
                together.scene[row, column], alone.scene, rtol=1e-9, atol=1e-9
            )
            assert together.iterations[row, column] == alone.iterations
            assert together.converged[row, column] == alone.converged


def test_one_bad_item_does_not_steer_the_others(solver, operator):
    captures = _random(11, 2, *operator.capture_shape).abs()
    clean = solver(operator, captures, iterations=5).scene[0]
    captures[1] = torch.nan
    torch.testing.assert_close(solver(operator, captures, iterations=5).scene[0], clean)


def test_residual_history_ends_with_the_residual_of_the_scene(solver, operator):
    capture = _random(12, *operator.capture_shape).abs()
    solution = solver(operator, capture, iterations=12)
    misfit = (operator.forward(solution.scene) - capture).norm() / capture.norm()
    assert solution.residuals.shape == (13,)
    torch.testing.assert_close(solution.residuals[-1], misfit, rtol=1e-9, atol=1e-12)
    assert solution.residuals[0] == pytest.approx(1)


def test_tolerance_stops_and_says_so(solver, operator):
    capture = operator.forward(_random(13, *operator.scene_shape).abs())
    loose = solver(operator, capture, iterations=400, tolerance=1e-2)
    assert bool(loose.converged)
    assert int(loose.iterations) < 400
    assert loose.residuals.shape[0] == int(loose.iterations) + 1
    assert not bool(solver(operator, capture, iterations=3).converged)


def test_black_capture_gives_a_black_scene(solver, operator):
    solution = solver(operator, torch.zeros(operator.capture_shape, dtype=torch.float64))
    assert not solution.scene.any()


def test_wrong_shape_and_settings_are_named(solver, operator):
    with pytest.raises(ShapeError, match="capture must have shape"):
        solver(operator, torch.zeros(3, 3, dtype=torch.float64))
    capture = torch.zeros(operator.capture_shape, dtype=torch.float64)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        solver(operator, capture, iterations=0)
    with pytest.raises(TypeError, match="capture must have a real floating-point dtype"):
        solver(operator, capture.int())


def _objective(operator, capture, scene, weight, kind="isotropic"):
    misfit = 0.5 * (operator.forward(scene) - capture).square().sum()
    variation = total_variation(scene, kind=kind, item_ndim=len(operator.scene_shape))
    return float(misfit + weight * variation)


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
def test_admm_and_fista_find_the_same_minimum(operator, kind):
    capture = operator.forward(_random(14, *operator.scene_shape))
    admm = admm_tv(operator, capture, weight=0.5, kind=kind, iterations=600)
    prox = tv_regulariser(0.5, kind=kind, iterations=30)
    proximal = fista(operator, capture, prox, iterations=600)
    values = [_objective(operator, capture, s.scene, 0.5, kind) for s in (admm, proximal)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert admm.scene.min() >= 0
    assert proximal.scene.min() >= 0


def test_fista_without_a_prior_reaches_least_squares():
    operator = _separable()
    capture = _random(15, *operator.capture_shape)
    exact = conjugate_gradient(operator, capture, iterations=500, tolerance=1e-13).scene
    scene = fista(operator, capture, None, iterations=3000).scene
    torch.testing.assert_close(scene, exact, rtol=1e-6, atol=1e-6)


def test_nonnegative_minimum_satisfies_its_optimality_conditions():
    operator = _separable()
    capture = _random(16, *operator.capture_shape)
    scene = fista(operator, capture, nonnegative_prox, iterations=4000).scene
    gradient = operator.adjoint(operator.forward(scene) - capture)
    assert scene.min() >= 0
    assert (gradient >= -1e-6).all()
    assert (scene * gradient).abs().max() < 1e-6


@given(seed=SEEDS, weight=st.floats(0.01, 2), kind=st.sampled_from(["isotropic", "anisotropic"]))
def test_tv_prox_is_no_worse_than_any_other_point(seed, weight, kind):
    target = _random(seed, 7, 6)

    def value(scene):
        return float(
            0.5 * (scene - target).square().sum() + weight * total_variation(scene, kind=kind)
        )

    best, _ = tv_prox(target, weight, kind=kind, iterations=1500)
    others = [target, torch.full_like(target, float(target.mean()))]
    others += [best + 0.01 * _random(seed + k, 7, 6) for k in range(5)]
    assert all(value(best) <= value(other) + 1e-5 for other in others)
    torch.testing.assert_close(best.mean(), target.mean())


def test_plug_and_play_with_no_denoiser_solves_least_squares():
    operator = _separable()
    capture = _random(17, *operator.capture_shape)
    exact = conjugate_gradient(operator, capture, iterations=500, tolerance=1e-13).scene
    solution = plug_and_play(
        operator, capture, lambda scene, noise_std: scene, noise_std=0.0, iterations=200
    )
    torch.testing.assert_close(solution.scene, exact, rtol=1e-6, atol=1e-6)


def test_plug_and_play_refuses_a_denoiser_that_changes_the_shape(operator):
    capture = _random(18, *operator.capture_shape)
    with pytest.raises(ValueError, match="denoiser must keep the shape"):
        plug_and_play(operator, capture, lambda scene, _: scene[..., :-1], noise_std=0.1)
