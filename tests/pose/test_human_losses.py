"""What each head of the model of people is trained to make small."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from barelens.pose.decode import decode_heatmaps
from barelens.pose.synthetic import OUTSIDE, PARTS, VISIBLE
from barelens.pose.training import PeopleRecipe, PeopleStore, render_shards
from barelens.pose.training.augment import BatchMaker
from barelens.pose.training.losses import heatmaps, losses

SIZE, GRID = (64, 48), (16, 12)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    pytest.importorskip("anny")
    folder = tmp_path_factory.mktemp("people")
    recipe = PeopleRecipe(6, seed=5, size=(96, 72), lensless_share=0.0)
    assert list(render_shards(folder, recipe)) == [6]
    return BatchMaker(PeopleStore(folder, recipe), SIZE, GRID, 6, seed=0).plain(range(6))


def _perfect(batch):
    """Return what a model would have to say to be right."""
    maps = heatmaps(batch.keypoints, batch.visibility, SIZE, GRID)
    depth = batch.depth.clone()
    for each, mask in zip(depth, batch.mask, strict=True):
        each[mask] -= each[mask].mean()
        each[mask] /= each[mask].abs().mean()
    return {
        "pose": maps,
        "parts": 50 * F.one_hot(batch.parts, len(PARTS)).movedim(-1, 1).float(),
        "depth": depth,
        "normals": batch.normals.clone(),
    }


def test_perfect_outputs_cost_nothing_and_empty_heatmaps_one(batch):
    outputs = _perfect(batch)
    for name, loss in losses(outputs, batch).items():
        assert float(loss) == pytest.approx(0, abs=0.02), name
    empty = losses({**outputs, "pose": torch.zeros_like(outputs["pose"])}, batch)["pose"]
    inside = (batch.visibility != OUTSIDE).float().mean()
    # Gaussians at the edge of the map are cut.
    assert 0.8 * inside < float(empty) < 1.02 * inside


def test_the_loss_of_parts_is_cross_entropy_and_dice(batch):
    logits = torch.randn(6, len(PARTS), *GRID, generator=torch.Generator().manual_seed(0))
    shares, truth = logits.softmax(1), F.one_hot(batch.parts, len(PARTS)).movedim(-1, 1)
    both, total = ((each).sum(dim=(0, 2, 3)) for each in (shares * truth, shares + truth))
    dice = 1 - (2 * both + 1) / (total + 1)
    wanted = F.cross_entropy(logits, batch.parts) + dice[truth.sum(dim=(0, 2, 3)) > 0].mean()
    found = losses({**_perfect(batch), "parts": logits}, batch)["parts"]
    torch.testing.assert_close(found, wanted)


def test_the_loss_of_angles_is_about_the_angle(batch):
    outputs = _perfect(batch)
    for degrees in (10.0, 40.0):
        angle = torch.tensor(degrees).deg2rad()
        turn = torch.tensor(
            [[1, 0, 0], [0, angle.cos(), -angle.sin()], [0, angle.sin(), angle.cos()]]
        )
        upright = outputs["normals"].clone()
        upright[:, 0] = 0  # so that all turn by the whole angle
        upright = F.normalize(upright, dim=1)
        turned = torch.einsum("ij,bjrc->birc", turn, upright)
        found = losses({**outputs, "normals": 7 * turned}, replace(batch, normals=upright))
        assert float(found["angles"]) == pytest.approx(float(angle), rel=0.03)
        assert float(found["normals"]) == pytest.approx(1 - float(angle.cos()), rel=0.01)


def test_perfect_normals_have_a_finite_gradient(batch):
    normals = batch.normals.clone().requires_grad_()
    losses({**_perfect(batch), "normals": normals}, batch)["angles"].backward()
    assert bool(torch.isfinite(normals.grad).all())


def test_coarse_maps_are_compared_on_the_grid_of_the_labels(batch):
    outputs = _perfect(batch)
    flat = torch.zeros(6, 3, *GRID)
    flat[:, 2] = 1
    coarse = {**outputs, "normals": flat[..., ::2, ::2], "depth": torch.zeros(6, 1, 8, 6)}
    fine = {**outputs, "normals": flat, "depth": torch.zeros(6, 1, *GRID)}
    for name, loss in losses(coarse, batch).items():
        torch.testing.assert_close(loss, losses(fine, batch)[name])


def test_neither_scale_nor_shift_of_true_depth_matters(batch):
    outputs = {**_perfect(batch), "depth": torch.randn(6, 1, *GRID)}
    moved = replace(batch, depth=3 * batch.depth + 2)
    for each, other in zip(
        losses(outputs, batch).values(), losses(outputs, moved).values(), strict=True
    ):
        torch.testing.assert_close(each, other, rtol=1e-2, atol=1e-5)


@given(x=st.floats(16, 31), y=st.floats(16, 47))  # the decoding blurs, which edges disturb
@settings(max_examples=20, deadline=None)
def test_decoding_finds_the_keypoint_a_heatmap_was_drawn_for(x, y):
    maps = heatmaps(torch.tensor([[x, y]]), torch.tensor([VISIBLE]), SIZE, (32, 16))
    found = decode_heatmaps(maps, SIZE).positions[0]
    steps = torch.tensor([SIZE[1], SIZE[0]])
    torch.testing.assert_close(found * (steps - 1) / steps, torch.tensor([x, y]), atol=0.05, rtol=0)
