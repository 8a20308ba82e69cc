"""Laws of every linear operator. A new operator needs one entry in OPERATORS to have them all."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import (
    ConvolutionOperator,
    FiniteDifference,
    LinearOperator,
    MeanRemoval,
    SeparableOperator,
    ShapeError,
    operator_norm,
)

SIZES = st.integers(2, 13)
SEEDS = st.integers(0, 2**31)

Build = Callable[[torch.Generator, tuple[int, int], tuple[int, int]], LinearOperator]


def _random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def _separable(generator, sensor, scene):
    return SeparableOperator(
        _random(generator, 4, sensor[0], scene[0]), _random(generator, 4, sensor[1], scene[1])
    )


def _convolution(generator, sensor, scene):
    return ConvolutionOperator(_random(generator, 3, *sensor))


#: name -> build(generator, sensor size, scene size)
OPERATORS: dict[str, Build] = {
    "separable, one channel": lambda generator, sensor, scene: SeparableOperator(
        _random(generator, sensor[0], scene[0]), _random(generator, sensor[1], scene[1])
    ),
    "separable, four channels": _separable,
    "separable, centred": lambda *args: _separable(*args).centred(),
    "mean removal": lambda generator, sensor, scene: MeanRemoval((2, *sensor)),
    "mean removal @ separable": lambda generator, sensor, scene: (
        MeanRemoval((4, *sensor)) @ _separable(generator, sensor, scene)
    ),
    "convolution": _convolution,
    "convolution, one channel, any sizes": lambda generator, sensor, scene: ConvolutionOperator(
        _random(generator, 5, 4), sensor_size=sensor, scene_size=scene
    ),
    "convolution, wide PSF": lambda generator, sensor, scene: ConvolutionOperator(
        _random(generator, 17, 20), sensor_size=sensor, scene_size=scene
    ),
    "finite difference": lambda generator, sensor, scene: FiniteDifference((3, *scene)),
    "composition": lambda generator, sensor, scene: (
        _convolution(generator, sensor, scene) @ MeanRemoval((3, *sensor))
    ),
    "sum and scalar": lambda generator, sensor, scene: (
        2.5 * _separable(generator, sensor, scene) - _separable(generator, sensor, scene)
    ),
}

operators = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture(params=OPERATORS)
def operator(request):
    generator = torch.Generator().manual_seed(3)
    return OPERATORS[request.param](generator, (7, 8), (6, 5))


@operators
@given(sensor=st.tuples(SIZES, SIZES), scene=st.tuples(SIZES, SIZES), seed=SEEDS)
def test_adjoint_satisfies_the_dot_product_identity(name, sensor, scene, seed):
    generator = torch.Generator().manual_seed(seed)
    operator = OPERATORS[name](generator, sensor, scene)
    x = _random(generator, *operator.scene_shape)
    y = _random(generator, *operator.capture_shape)
    image, back = operator.forward(x), operator.adjoint(y)
    assert image.shape == operator.capture_shape
    assert back.shape == operator.scene_shape
    scale = image.norm() * y.norm() + x.norm() * back.norm()
    assert ((image * y).sum() - (x * back).sum()).abs() <= 1e-13 * scale


@operators
@given(sensor=st.tuples(SIZES, SIZES), scene=st.tuples(SIZES, SIZES), seed=SEEDS)
def test_forward_is_linear(name, sensor, scene, seed):
    generator = torch.Generator().manual_seed(seed)
    operator = OPERATORS[name](generator, sensor, scene)
    first, second = _random(generator, 2, *operator.scene_shape)
    combined = operator.forward(1.5 * first - 0.25 * second)
    parts = 1.5 * operator.forward(first) - 0.25 * operator.forward(second)
    torch.testing.assert_close(combined, parts, rtol=1e-11, atol=1e-11)


def test_batch_equals_loop(operator):
    generator = torch.Generator().manual_seed(0)
    scenes = _random(generator, 2, 3, *operator.scene_shape)
    captures = _random(generator, 2, 3, *operator.capture_shape)
    for apply, items in (
        (operator.forward, scenes),
        (operator.adjoint, captures),
        (operator.normal, scenes),
    ):
        looped = torch.stack([torch.stack([apply(item) for item in row]) for row in items])
        torch.testing.assert_close(apply(items), looped, rtol=1e-12, atol=1e-12)


def test_normal_is_adjoint_after_forward(operator):
    scene = _random(torch.Generator().manual_seed(1), *operator.scene_shape)
    expected = operator.adjoint(operator.forward(scene))
    torch.testing.assert_close(operator.normal(scene), expected, rtol=1e-11, atol=1e-11)


def test_norm_is_the_largest_singular_value(operator):
    size = torch.Size(operator.scene_shape).numel()
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *operator.scene_shape)
    matrix = operator.forward(basis).reshape(size, -1)
    norm = operator_norm(operator, iterations=5000, tolerance=0.0, dtype=torch.float64)
    assert norm == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)), rel=1e-6)


def test_gradients_flow_through_scenes_twice(operator):
    scene = _random(torch.Generator().manual_seed(2), *operator.scene_shape).requires_grad_()
    assert torch.autograd.gradcheck(operator.forward, scene)
    for _ in range(2):  # a cached graph would be freed by the first
        operator.normal(scene).sum().backward()


def test_dtype_is_kept(operator):
    scene = torch.ones(operator.scene_shape, dtype=torch.float64)
    assert operator.forward(scene).dtype == torch.float64


def test_wrong_shape_is_named(operator):
    with pytest.raises(ShapeError, match=r"scene must have shape \(\.\.\., "):
        operator.forward(torch.zeros(1, 1, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r"capture must have shape \(\.\.\., "):
        operator.adjoint(torch.zeros(1, 1, dtype=torch.float64))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_and_dtype_follow_the_input():
    generator = torch.Generator().manual_seed(0)
    matrices = [_random(generator, 4, 9, 5).float().cuda() for _ in range(2)]
    scene = torch.ones(2, 4, 5, 5, device="cuda")
    image = SeparableOperator(*matrices).forward(scene)
    assert image.device.type == "cuda"
    assert image.dtype == torch.float32


@given(seed=SEEDS, shape=st.tuples(SIZES, SIZES), kernel=st.tuples(SIZES, SIZES))
def test_convolution_equals_direct_summation(seed, shape, kernel):
    generator = torch.Generator().manual_seed(seed)
    psf, scene = _random(generator, *kernel), _random(generator, *shape)
    image = ConvolutionOperator(psf, sensor_size=shape).forward(scene)
    direct = torch.zeros(shape, dtype=torch.float64)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            down, right = row - kernel[0] // 2, column - kernel[1] // 2
            for i in range(max(0, down), min(shape[0], shape[0] + down)):
                for j in range(max(0, right), min(shape[1], shape[1] + right)):
                    direct[i, j] += psf[row, column] * scene[i - down, j - right]
    torch.testing.assert_close(image, direct, rtol=1e-11, atol=1e-11)


def test_larger_scene_shares_its_centre_with_the_sensor():
    psf = torch.zeros(5, 5, dtype=torch.float64)
    psf[2, 2] = 1
    scene = torch.arange(81, dtype=torch.float64).reshape(9, 9)
    operator = ConvolutionOperator(psf, sensor_size=(5, 5), scene_size=(9, 9))
    torch.testing.assert_close(operator.forward(scene), scene[2:7, 2:7])


def test_gradients_flow_through_parameters():
    generator = torch.Generator().manual_seed(5)
    left, right = _random(generator, 5, 3), _random(generator, 4, 3)
    scene, psf = _random(generator, 3, 3), _random(generator, 4, 3)
    left.requires_grad_()
    right.requires_grad_()
    psf.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: SeparableOperator(a, b).centred().normal(scene), (left, right)
    )
    assert torch.autograd.gradcheck(
        lambda p: ConvolutionOperator(p, sensor_size=(3, 3)).normal(scene), psf
    )


def test_centring_removes_the_constant_part_of_a_physical_mask():
    generator = torch.Generator().manual_seed(7)
    operator = _separable(generator, (9, 8), (5, 4))
    scene = _random(generator, *operator.scene_shape)
    rows, columns = _random(generator, 4, 9, 1), _random(generator, 4, 1, 8)
    removal = MeanRemoval(operator.capture_shape)
    physical = operator.forward(scene) + rows + columns
    torch.testing.assert_close(removal.forward(physical), operator.centred().forward(scene))
    assert torch.equal(removal.forward(physical), MeanRemoval.within(physical.clone()))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SeparableOperator(torch.ones(3), torch.ones(3)), ShapeError, "phi_left and phi"),
        (
            lambda: SeparableOperator(torch.ones(2, 3, 3), torch.ones(1, 3, 3)),
            ShapeError,
            "equal channels",
        ),
        (
            lambda: SeparableOperator(torch.ones(3, 3), torch.ones(3, 3).double()),
            TypeError,
            "share dtype",
        ),
        (
            lambda: SeparableOperator(torch.ones(3, 3).int(), torch.ones(3, 3)),
            TypeError,
            "phi_left must have a real floating-point dtype",
        ),
        (lambda: ConvolutionOperator(torch.ones(3)), ShapeError, "psf must have shape"),
        (lambda: FiniteDifference((3,)), ShapeError, "height, width"),
        (
            lambda: MeanRemoval((3, 4)) @ MeanRemoval((4, 3)),
            ShapeError,
            "outer.scene_shape == inner.capture_shape",
        ),
        (lambda: MeanRemoval((3, 4)) + MeanRemoval((4, 3)), ShapeError, "equal scene_shape"),
    ],
)
def test_bad_arguments_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
