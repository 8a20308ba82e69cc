"""Synthetic people: the labels are those of the mesh that was rendered, and chance is a seed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.imaging import ShapeError
from barelens.pose.labels import keypoint_layout, part_labels
from barelens.pose.synthetic import (
    KEYPOINTS,
    OUTSIDE,
    PARTS,
    VISIBLE,
    LenslessView,
    load_body_model,
    rasterise,
    render_person,
)
from barelens.pose.synthetic.bodies import vertex_normals
from barelens.pose.synthetic.poses import rotation, sample_pose
from barelens.pose.synthetic.wardrobe import dress

SIZE = (96, 72)
SEEDS = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def people():
    pytest.importorskip("anny")
    return [render_person(index, seed=11, size=SIZE) for index in range(12)]


def _triangles(seed, count=40):
    generator = torch.Generator().manual_seed(seed)
    points = 40 * torch.rand(3 * count, 2, generator=generator) - 5
    depth = 1 + 4 * torch.rand(3 * count, generator=generator)
    return points, depth, torch.arange(3 * count).view(count, 3)


def _nearest_by_loop(points, depth, faces, row, column):
    """Cast the ray of one pixel at one triangle after the other, in space and in float64."""
    best, chosen = math.inf, -1
    rays = torch.tensor([column, row, 1.0], dtype=torch.float64)
    for index, face in enumerate(faces):
        # A corner seen at (x, y) at depth z is the point z (x, y, 1) for a focal length of 1 px.
        corners = depth[face, None].double() * torch.cat(
            [points[face].double(), torch.ones(3, 1, dtype=torch.float64)], dim=1
        )
        try:
            shares = torch.linalg.solve(corners.T, rays)
        except torch.linalg.LinAlgError:
            continue
        if bool((shares >= -1e-9).all()) and float(1 / shares.sum()) < best:
            best, chosen = float(1 / shares.sum()), index
    return best, chosen


@given(seed=SEEDS)
@settings(max_examples=8, deadline=None)
def test_each_pixel_shows_the_triangle_that_its_ray_meets_first(seed):
    points, depth, faces = _triangles(seed)
    seen = rasterise(points, depth, faces, (30, 23), two_sided=torch.ones(len(faces), dtype=bool))
    generator = np.random.default_rng(seed)
    for row, column in zip(
        generator.integers(30, size=12), generator.integers(23, size=12), strict=True
    ):
        best, chosen = _nearest_by_loop(points, depth, faces, row, column)
        if chosen < 0:
            assert not seen.mask[row, column]
            assert torch.isnan(seen.depth[row, column])
        else:
            assert seen.face[row, column] == chosen
            assert float(seen.depth[row, column]) == pytest.approx(best, rel=1e-4)


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_interpolation_is_linear_in_space_not_in_the_picture(seed):
    points, depth, faces = _triangles(seed)
    seen = rasterise(points, depth, faces, (30, 23), two_sided=torch.ones(len(faces), dtype=bool))
    space = torch.cat([points * depth[:, None], depth[:, None]], dim=1)
    places = seen.interpolate(space, faces)
    row, column = seen.mask.nonzero().unbind(dim=1)
    wanted = torch.stack([column, row], dim=1) * places[:, 2:]
    torch.testing.assert_close(places[:, :2], wanted.float(), atol=2e-2, rtol=1e-3)
    torch.testing.assert_close(places[:, 2], seen.depth[seen.mask], atol=1e-3, rtol=1e-3)


def test_triangles_seen_from_behind_are_left_out_unless_asked_for():
    points = torch.tensor([[1.0, 1.0], [8.0, 1.0], [1.0, 8.0]])
    depth = torch.full((3,), 2.0)
    clockwise, anticlockwise = torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 1]])
    assert rasterise(points, depth, anticlockwise, (10, 10)).mask.any()
    assert not rasterise(points, depth, clockwise, (10, 10)).mask.any()
    both = rasterise(points, depth, clockwise, (10, 10), two_sided=torch.tensor([True]))
    assert both.mask.sum() == 8 * 9 / 2
    with pytest.raises(ShapeError, match="points and depth"):
        rasterise(points[:, :1], depth, clockwise, (10, 10))


@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    degrees=st.floats(-180, 180),
)
def test_rotations_keep_lengths_and_their_axis(axis, degrees):
    matrix = rotation(np.array(axis), degrees)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(matrix @ axis, axis, atol=1e-12)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.radians(degrees)))


def test_names_are_those_of_sapiens():
    assert set(KEYPOINTS) <= set(keypoint_layout(308).names)
    assert KEYPOINTS[:17] == keypoint_layout(17).names
    assert set(PARTS) <= set(part_labels(28).names)
    assert len(set(KEYPOINTS)) == len(KEYPOINTS) == 28
    assert len(set(PARTS)) == len(PARTS) == 18


def test_the_same_seed_gives_the_same_person_bit_by_bit(people):
    again = render_person(3, seed=11, size=SIZE)
    for name in ("image", "keypoints", "visibility", "parts", "depth", "normals", "box"):
        assert torch.equal(
            torch.nan_to_num(getattr(again, name)), torch.nan_to_num(getattr(people[3], name))
        )
    other = render_person(3, seed=12, size=SIZE)
    assert not torch.equal(other.image, people[3].image)


def test_keypoints_are_projections_of_points_in_space(people):
    for person in people:
        camera = person.camera
        x, y, z = person.keypoints_m.double().unbind(dim=1)
        wanted = torch.stack(
            [
                camera.focal_px[0] * x / z + camera.principal_px[0],
                camera.focal_px[1] * y / z + camera.principal_px[1],
            ],
            dim=1,
        )
        torch.testing.assert_close(person.keypoints.double(), wanted, atol=1e-3, rtol=1e-4)


def test_keypoints_in_sight_lie_on_the_person_close_under_the_surface(people):
    depths, count = [], 0
    for person in people:
        for (x, y), seen, point in zip(
            person.keypoints, person.visibility, person.keypoints_m, strict=True
        ):
            if seen == OUTSIDE:
                continue
            row, column = round(float(y)), round(float(x))
            assert 0 <= row < SIZE[0] and 0 <= column < SIZE[1]
            count += seen == VISIBLE
            if seen == VISIBLE and person.parts[row, column]:
                depths.append(float(point[2] - person.depth[row, column]))
    # Tips of fingers and toes can miss the person, or the limb, by half a pixel.
    assert len(depths) > 0.85 * count > 50
    assert max(depths) < 0.14
    assert np.mean(np.array(depths) > -0.05) > 0.95


def test_maps_agree_on_where_the_person_is(people):
    for person in people:
        mask = person.parts > 0
        assert 0.02 < float(mask.float().mean()) < 0.95
        assert torch.equal(mask, torch.isfinite(person.depth))
        assert torch.equal(mask, person.normals.norm(dim=0) > 0.5)
        assert int(person.parts.max()) < len(PARTS)


def test_normals_are_of_unit_length_and_face_the_camera(people):
    for person in people:
        mask = person.parts > 0
        normals = person.normals[:, mask]
        torch.testing.assert_close(normals.norm(dim=0), torch.ones(normals.shape[1]))
        towards = -_points(person)[:, mask] * torch.tensor([[1.0], [-1.0], [-1.0]])
        assert ((normals * towards).sum(dim=0) > -1e-5).all()


def test_normals_are_those_of_the_depth_map(people):
    angles = []
    for person in people:
        points = _points(person)
        across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
        down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
        # With X right, Y down, Z forward this goes away from the camera; turned round, and with y
        # up and z back, only x changes its sign.
        flat = torch.linalg.cross(across, down, dim=0)
        flat = torch.nn.functional.normalize(flat, dim=0) * torch.tensor([[[-1.0]], [[1]], [[1]]])
        cosine = (flat * person.normals[:, 1:-1, 1:-1]).sum(dim=0)
        smooth = torch.isfinite(cosine) & (across[2].abs() < 0.03) & (down[2].abs() < 0.03)
        angles.append(cosine[smooth].clamp(-1, 1).acos().rad2deg())
    assert float(torch.cat(angles).median()) < 12


def test_limbs_have_the_side_that_their_keypoints_have(people):
    agreed, seen = 0, 0
    for person in people:
        for side in ("left", "right"):
            place = KEYPOINTS.index(f"{side}_wrist")
            if person.visibility[place] != VISIBLE:
                continue
            column, row = person.keypoints[place].round().long().tolist()
            near = person.parts[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
            seen += 1
            agreed += bool((near == PARTS.index(f"{side.title()}_Hand")).any())
    assert seen >= 8
    assert agreed >= 0.7 * seen  # long sleeves and other limbs can cover a hand


def test_left_is_the_mirror_image_of_right():
    pytest.importorskip("anny")
    body = load_body_model()
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    at_rest = body.pose(torch.full((6,), 0.5), {})
    flip = [KEYPOINTS.index(_other_side(name)) for name in KEYPOINTS]
    torch.testing.assert_close(
        at_rest.keypoints[flip] * mirror, at_rest.keypoints, atol=2e-3, rtol=0
    )
    assert float(at_rest.keypoints[KEYPOINTS.index("left_wrist"), 0]) > 0.2


def test_poses_turn_bones_by_rotations_and_move_the_keypoints():
    pytest.importorskip("anny")
    body = load_body_model()
    for seed in range(6):
        _, rotations = sample_pose(np.random.default_rng(seed), body.joints)
        for matrix in rotations.values():
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(3), atol=1e-5, rtol=0)
        posed = body.pose(torch.full((6,), 0.5), rotations)
        rest = body.pose(torch.full((6,), 0.5), {})
        # Forearms keep their length in any pose.
        for side in ("left", "right"):
            ends = [KEYPOINTS.index(f"{side}_{name}") for name in ("elbow", "wrist")]
            lengths = [
                float((p.keypoints[ends[0]] - p.keypoints[ends[1]]).norm()) for p in (posed, rest)
            ]
            assert lengths[0] == pytest.approx(lengths[1], rel=0.12)


def test_everyone_wears_something_below_and_cloth_lies_outside_of_the_body():
    pytest.importorskip("anny")
    body = load_body_model()
    for seed in range(8):
        outfit = dress(np.random.default_rng(seed), body)
        assert (outfit.part == PARTS.index("Lower_Clothing")).any()
        assert (outfit.thickness_m >= 0).all() and float(outfit.thickness_m.max()) < 0.05
        normals = vertex_normals(body.template, outfit.faces)
        head = body.template[:13380, 2] > body.joints["head"][2]
        outward = (body.template[:13380] - body.template[:13380][head].mean(dim=0)) * normals[
            :13380
        ]
        assert float((outward.sum(dim=1)[head] > 0).float().mean()) > 0.8


def test_a_lensless_view_resembles_the_picture(people):
    picture = torch.nn.functional.interpolate(people[0].image[None].float(), size=(64, 48))[0]
    picture = picture.round().to(torch.uint8)
    view = LenslessView((64, 48))
    seen = view(picture, seed=1)
    assert seen.shape == picture.shape and seen.dtype == torch.uint8
    assert torch.equal(seen, view(picture, seed=1))
    assert not torch.equal(seen, view(picture, seed=2))
    pair = torch.stack([picture.float().flatten(), seen.float().flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.7


def _points(person):
    """Lift the depth map into space; (3, height, width) with X right, Y down, Z forward."""
    rows, columns = person.depth.shape
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    flat = torch.stack([x, y]).float() - person.camera.principal_px[:, None, None]
    flat = flat / person.camera.focal_px[:, None, None]
    return torch.cat([flat, torch.ones(1, rows, columns)]) * person.depth


def _other_side(name):
    if name.startswith("left_"):
        return name.replace("left_", "right_", 1)
    return name.replace("right_", "left_", 1)
