"""Files for other tools: what is written can be read, and says what it means."""

import json
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging.files import FileError
from barelens.imaging.shapes import ShapeError
from barelens.pose import HumanOutput, Person
from barelens.pose.formats import (
    backproject_depth,
    coco_dataset,
    coco_results,
    decode_mask,
    encode_mask,
    openpose_record,
    read_depth_png,
    read_normal_png,
    write_coco,
    write_depth_png,
    write_normal_png,
    write_openpose,
    write_ply,
)
from barelens.pose.formats.openpose import BODY_25
from barelens.pose.labels import keypoint_layout


def people(count=308, mask=True):
    generator = torch.Generator().manual_seed(count)
    shape = torch.zeros(40, 30, dtype=torch.bool)
    shape[5:25, 10:20] = True
    return HumanOutput(
        (40, 30),
        tuple(
            Person(
                torch.tensor([1.0, 2.0, 21.0, 37.0]) + index,
                box_score=0.5,
                keypoints=torch.rand(count, 2, generator=generator) * 30,
                keypoint_scores=torch.rand(count, generator=generator) + 0.01,
                mask=shape if mask else None,
                track=index,
            )
            for index in range(2)
        ),
    )


masks = st.tuples(
    st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**31)
).map(lambda t: torch.rand(t[0], t[1], generator=torch.Generator().manual_seed(t[3])) < t[2])


@given(masks, st.booleans())
def test_masks_come_back_from_their_runs(mask, compressed):
    runs = encode_mask(mask, compressed=compressed)
    assert runs["size"] == list(mask.shape)
    assert torch.equal(decode_mask(json.loads(json.dumps(runs))), mask)
    if not compressed:
        assert sum(runs["counts"]) == mask.numel()
        assert sum(runs["counts"][1::2]) == int(mask.sum())


def test_runs_go_down_the_columns_and_begin_with_zeros():
    mask = torch.tensor([[True, False, False], [True, True, False]])
    assert encode_mask(mask, compressed=False)["counts"] == [0, 2, 1, 1, 2]
    # 0, 2, 1, then the others less the run before the last: 1 - 2 and 2 - 1.
    assert encode_mask(mask)["counts"] == "021O1"
    with pytest.raises(ValueError, match="fill"):
        decode_mask({"size": [2, 3], "counts": [0, 2, 1]})
    with pytest.raises(ValueError, match="middle of a number"):
        decode_mask({"size": [2, 3], "counts": "02P"})
    with pytest.raises(ShapeError, match="bool"):
        encode_mask(torch.zeros(2, 3))


@given(masks)
def test_compressed_runs_equal_those_of_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    assert encode_mask(mask)["counts"] == theirs["counts"].decode("ascii")


@pytest.mark.parametrize(("layout", "count"), [("coco17", 17), ("sapiens308", 308)])
def test_results_hold_each_person_once(layout, count):
    output = people()
    results = coco_results({7: output}, layout=layout)
    assert [result["image_id"] for result in results] == [7, 7]
    for person, result in zip(output.people, results, strict=True):
        assert len(result["keypoints"]) == 3 * count
        assert result["bbox"] == [float(person.box[0]), float(person.box[1]), 20.0, 35.0]
        assert result["score"] == pytest.approx(0.5 * float(person.keypoint_scores.mean()))
        assert torch.equal(decode_mask(result["segmentation"]), person.mask)
        nose = [*person.keypoints[0].tolist(), float(person.keypoint_scores[0])]
        assert result["keypoints"][:3] == pytest.approx(nose, abs=1e-3)


@pytest.mark.parametrize("count", [133, 308])
def test_whole_body_results_are_split_as_its_evaluation_wants(count):
    result = coco_results({1: people(count)}, layout="wholebody133", approximate=True)[0]
    lengths = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68}
    lengths |= {"lefthand_kpts": 21, "righthand_kpts": 21}
    assert all(len(result[name]) == 3 * length for name, length in lengths.items())
    assert result["face_valid"] == (count == 133)
    assert result["lefthand_valid"]


def test_datasets_are_whole_and_read_by_pycocotools(tmp_path):
    record = coco_dataset({"a.png": people(), "b.png": people(17)}, min_score=0.5)
    write_coco(tmp_path / "people.json", record)
    assert json.loads((tmp_path / "people.json").read_text()) == record
    assert [annotation["id"] for annotation in record["annotations"]] == [1, 2, 3, 4]
    names = record["categories"][0]["keypoints"]
    assert all(
        1 <= end <= len(names) for link in record["categories"][0]["skeleton"] for end in link
    )
    for annotation in record["annotations"]:
        marks = annotation["keypoints"][2::3]
        assert set(marks) <= {0, 2}
        assert annotation["num_keypoints"] == sum(mark > 0 for mark in marks)
        assert annotation["area"] == 200
    coco = pytest.importorskip("pycocotools.coco")
    loaded = coco.COCO(tmp_path / "people.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools' own, about NumPy 2
        assert loaded.annToMask(loaded.loadAnns([1])[0]).sum() == 200


def test_people_without_keypoints_or_masks_can_be_written():
    output = HumanOutput((40, 30), (Person(torch.tensor([1.0, 2.0, 21.0, 37.0])),))
    annotation = coco_dataset({"a.png": output})["annotations"][0]
    assert "keypoints" not in annotation
    assert annotation["area"] == 20 * 35
    person = openpose_record(output)["people"][0]
    assert person["pose_keypoints_2d"] == []
    assert person["person_id"] == [-1]


@pytest.mark.parametrize("count", [17, 133, 308])
def test_openpose_points_are_those_of_their_names(tmp_path, count):
    output = people(count)
    write_openpose(tmp_path / "people.json", output)
    record = json.loads((tmp_path / "people.json").read_text())
    assert len(record["people"]) == 2
    person, points = output.people[0], torch.tensor(record["people"][0]["pose_keypoints_2d"])
    points = points.reshape(25, 3)
    layout = keypoint_layout(count)
    for name, point in zip(BODY_25, points, strict=True):
        if "+" in name or name not in layout.names:
            continue
        index = layout.index(name)
        assert point[:2].tolist() == pytest.approx(person.keypoints[index].tolist(), abs=1e-3)
    hips = [layout.index("left_hip"), layout.index("right_hip")]
    middle = person.keypoints[hips].mean(0).tolist()
    assert points[8, :2].tolist() == pytest.approx(middle, abs=1e-3)
    assert points[8, 2] == pytest.approx(float(person.keypoint_scores[hips].min()), abs=1e-4)
    toes = points[BODY_25.index("left_big_toe")]
    assert (toes != 0).all() == (count != 17)
    hand = record["people"][0]["hand_left_keypoints_2d"]
    assert len(hand) == (0 if count == 17 else 63)
    assert len(record["people"][0]["face_keypoints_2d"]) == (210 if count == 133 else 0)


def test_points_that_were_not_found_are_zero_in_openpose():
    output = people(17)
    output.people[0].keypoint_scores[5] = 0  # left shoulder, and with it the neck
    points = openpose_record(output)["people"][0]["pose_keypoints_2d"]
    assert points[3 * 1 : 3 * 2] == [0, 0, 0]
    assert points[3 * 5 : 3 * 6] == [0, 0, 0]


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4), st.integers(0, 2**31))
def test_relative_depth_comes_back_to_half_a_step(tmp_path_factory, low, extent, seed):
    path = tmp_path_factory.mktemp("depth") / "depth.png"
    generator = torch.Generator().manual_seed(seed)
    depth = low + extent * torch.rand(9, 7, generator=generator, dtype=torch.float64)
    depth[0, 0] = torch.nan
    mask = torch.rand(9, 7, generator=generator) < 0.9
    mask[4, 4] = True
    write_depth_png(path, depth, metric=False, mask=mask)
    again, metric = read_depth_png(path)
    known = mask & torch.isfinite(depth)
    assert not metric
    assert torch.equal(torch.isfinite(again), known)
    step = (depth[known].max() - depth[known].min()) / 65534
    assert (again - depth)[known].abs().max() <= step * 0.51 + 1e-9


def test_metric_depth_is_millimetres_to_any_reader(tmp_path):
    depth = torch.tensor([[0.001, 1.2344, torch.nan], [65.535, 2.0, 3.0]])
    write_depth_png(tmp_path / "depth.png", depth, metric=True)
    levels = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16
    assert levels.tolist() == [[1, 1234, 0], [65535, 2000, 3000]]
    again, metric = read_depth_png(tmp_path / "depth.png")
    assert metric
    torch.testing.assert_close(again, depth.double(), rtol=0, atol=0.00051, equal_nan=True)
    for wrong in (0.0, -1.0, 70.0):
        with pytest.raises(ValueError, match=r"0\.001 to 65\.535"):
            write_depth_png(tmp_path / "other.png", torch.tensor([[1.0, wrong]]), metric=True)
    assert not (tmp_path / "other.png").exists()


@pytest.mark.parametrize("depth", [torch.full((3, 2), 0.5), torch.full((3, 2), torch.nan)])
def test_depth_without_extent_can_be_written(tmp_path, depth):
    write_depth_png(tmp_path / "depth.png", depth, metric=False)
    again, _ = read_depth_png(tmp_path / "depth.png")
    torch.testing.assert_close(again, depth.double(), equal_nan=True)


def test_normals_come_back_to_half_a_step(tmp_path):
    normals = torch.randn(3, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    normals = normals / normals.norm(dim=0)
    normals[:, 0, 0] = torch.tensor([0.0, 0.0, -1.0])
    normals[:, 0, 1] = 0
    mask = torch.ones(9, 7, dtype=torch.bool)
    mask[0, 2] = False
    write_normal_png(tmp_path / "normal.png", normals, mask=mask)
    again = read_normal_png(tmp_path / "normal.png")
    normals[:, 0, 2] = 0
    torch.testing.assert_close(again, normals, rtol=0, atol=0.51 / 32767)
    pixels = cv2.imread(str(tmp_path / "normal.png"), cv2.IMREAD_UNCHANGED)
    assert pixels[0, 0].tolist() == [1, 32768, 32768]  # blue, green, red
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        write_normal_png(tmp_path / "normal.png", torch.full((3, 2, 2), 1.5))
    with pytest.raises(FileError, match="no depth map"):
        read_depth_png(tmp_path / "normal.png")
    with pytest.raises(ShapeError, match="normals"):
        write_normal_png(tmp_path / "normal.png", torch.zeros(2, 4, 4))


def read_ply(path):
    header, _, body = path.read_bytes().partition(b"end_header\n")
    kinds = {"float": "<f4", "uchar": "u1"}
    words = [line.split() for line in header.decode().splitlines()]
    fields = [(word[2], kinds[word[1]]) for word in words if word[0] == "property"]
    count = next(int(word[2]) for word in words if word[0] == "element")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert len(body) == count * np.dtype(fields).itemsize
    return np.frombuffer(body, fields)


def test_point_clouds_hold_what_is_known(tmp_path):
    points = torch.rand(3, 4, 5)
    points[0, 0, 0] = torch.nan
    colours = torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8)
    normals = torch.rand(3, 4, 5)
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[1, 1] = False
    path = tmp_path / "cloud.ply"
    assert write_ply(path, points, colours=colours, normals=normals, mask=mask) == 18
    vertices = read_ply(path)
    keep = mask & torch.isfinite(points[0])
    for axis, (place, slope, level) in enumerate(
        (("x", "nx", "red"), ("y", "ny", "green"), ("z", "nz", "blue"))
    ):
        assert np.array_equal(vertices[place], points[axis][keep].numpy())
        assert np.array_equal(vertices[slope], normals[axis][keep].numpy())
        assert np.array_equal(vertices[level], colours[axis][keep].numpy())
    assert write_ply(path, points.flatten(1)) == 19
    assert read_ply(path).dtype.names == ("x", "y", "z")


def test_point_clouds_refuse_what_does_not_fit(tmp_path):
    points = torch.rand(3, 4, 5)
    with pytest.raises(ShapeError, match="points"):
        write_ply(tmp_path / "a.ply", points[:2])
    with pytest.raises(ShapeError, match="normals"):
        write_ply(tmp_path / "a.ply", points, normals=points[:, :2])
    with pytest.raises(TypeError, match="colours"):
        write_ply(tmp_path / "a.ply", points, colours=points)
    with pytest.raises(ShapeError, match="mask"):
        write_ply(tmp_path / "a.ply", points, mask=torch.ones(2, 2, dtype=torch.bool))
    assert not list(tmp_path.iterdir())


@given(st.floats(10, 2000), st.integers(1, 9), st.integers(1, 9))
def test_points_project_back_to_their_pixels(focal_px, height, width):
    depth = torch.rand(2, height, width, dtype=torch.float64) + 0.5
    x, y, z = backproject_depth(depth, focal_px).unbind(-3)
    assert torch.equal(z, depth)
    across = (x / z * focal_px + (width - 1) / 2)[0, 0]
    down = (y / z * focal_px + (height - 1) / 2)[0, :, 0]
    torch.testing.assert_close(across, torch.arange(width, dtype=torch.float64))
    torch.testing.assert_close(down, torch.arange(height, dtype=torch.float64))
    with pytest.raises(ValueError, match="focal_px"):
        backproject_depth(depth, 0)
