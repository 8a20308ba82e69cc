"""What training minimises beside the squared error."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging.refine.training import (
    Batch,
    DenoisingObjective,
    ModelSettings,
    TrainingModel,
    TrainingSettings,
    build_parts,
)
from barelens.imaging.refine.training.objectives import edge_dissimilarity

pytest.importorskip("diffusers")


def _pictures(seed, number=2):
    return 2 * torch.rand(number, 3, 24, 20, generator=torch.Generator().manual_seed(seed)) - 1


@given(st.integers(0, 2**31))
def test_edges_of_equal_pictures_are_equal_whatever_their_brightness(seed):
    picture = 0.5 * _pictures(seed)
    zero = torch.zeros(2)
    torch.testing.assert_close(edge_dissimilarity(picture, picture), zero, rtol=0, atol=1e-5)
    torch.testing.assert_close(edge_dissimilarity(picture + 0.3, picture), zero, rtol=0, atol=1e-4)


def test_softer_edges_are_less_similar():
    sharp = torch.ones(1, 3, 24, 24)
    sharp[..., 12:] = -1
    found = []
    for width in (1, 5, 9):
        padded = torch.nn.functional.pad(sharp, (width // 2,) * 4, mode="replicate")
        soft = torch.nn.functional.avg_pool2d(padded, width, stride=1)
        found.append(float(edge_dissimilarity(soft, sharp)))
    assert found == sorted(found) and found[0] < 1e-5 and found[2] > 0.02


def test_flat_pictures_have_a_finite_gradient():
    flat = torch.zeros(1, 3, 16, 16, requires_grad=True)
    edge_dissimilarity(flat, _pictures(0, 1)[..., :16, :16]).sum().backward()
    assert flat.grad.isfinite().all()


def test_the_weight_of_edges_counts_and_is_for_models_of_pictures():
    model = ModelSettings(
        block_out_channels=(8, 16), norm_num_groups=4, embedding_channels=(8,), patch=2
    )
    parts = build_parts(TrainingSettings(model=model, crop=16))
    pictures = _pictures(1)[..., :16, :16]
    batch = Batch(pictures, torch.rand(2, 8, 16, 16), ["", ""], [1, 2], torch.ones(2))
    losses = [
        DenoisingObjective(parts, edge_weight=weight)(TrainingModel(parts), batch)
        for weight in (0.0, 1.0, 3.0)
    ]
    assert (losses[1] > losses[0]).all()
    torch.testing.assert_close(losses[2] - losses[0], 3 * (losses[1] - losses[0]))
    with pytest.raises(ValueError, match="edge_weight"):
        TrainingSettings(model=ModelSettings(prediction="epsilon"), edge_weight=1.0)
