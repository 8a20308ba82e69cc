"""``barelens human``: pictures and videos to files."""

import json

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.imaging.files import write_tiff
from barelens.pose import MultiTaskConfig, MultiTaskModel, save_multitask
from barelens.pose.formats import decode_mask, read_depth_png, read_normal_png
from barelens.pose.labels import keypoint_layout
from barelens.pose.video import write_video

PARTS = ("Background", "Hair", "Torso", "Left_Hand", "Right_Hand")


def run(*arguments):
    return CliRunner().invoke(cli, ["human", *map(str, arguments)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = MultiTaskConfig(
        (*keypoint_layout("coco17").names, "neck"), PARTS, image_size=(64, 48), embed_dim=16,
        depth=1, num_heads=2, feedforward_dim=16, pose_channels=(8, 8), parts_channels=(8, 8),
        depth_channels=(8, 8), normals_channels=(8, 8), head_channels=8,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_multitask(MultiTaskModel(config, seed=1), path, card={"data": "none"})
    return path


@pytest.fixture
def pictures(tmp_path):
    generator = np.random.default_rng(0)
    paths = []
    for name, size in (("a.png", (60, 90)), ("b.jpg", (80, 50)), ("grey.png", (40, 40))):
        pixels = cv2.resize(generator.integers(0, 256, (5, 6, 3), dtype=np.uint8), size[::-1])
        cv2.imwrite(str(tmp_path / name), pixels[..., 0] if name == "grey.png" else pixels)
        paths.append(tmp_path / name)
    return paths


def test_everything_is_written_for_every_picture(pictures, model, tmp_path):
    out = tmp_path / "out"
    result = run(*pictures, "--model", model, "--out", out)
    assert result.exit_code == 0, result.stderr
    kinds = "people.png coco.json openpose.json parts.png parts.json depth.png normals.png"
    for path in pictures:
        height, width = cv2.imread(str(path)).shape[:2]
        record = json.loads((out / f"{path.stem}.people.json").read_text())
        assert set(record["files"].values()) == {f"{path.stem}.{kind}" for kind in kinds.split()}
        assert all((out / name).is_file() for name in record["files"].values())
        assert record["models"]["models"][0]["name"] == "model.safetensors"
        drawn = cv2.imread(str(out / f"{path.stem}.people.png"))
        assert drawn.shape == (height, 4 * width + 3 * 8, 3)
        parts = cv2.imread(str(out / f"{path.stem}.parts.png"), cv2.IMREAD_UNCHANGED)
        assert parts.shape == (height, width)
        runs = json.loads((out / f"{path.stem}.parts.json").read_text())
        for name, each in runs.items():
            assert np.array_equal(decode_mask(each).numpy(), parts == PARTS.index(name))
        depth, metric = read_depth_png(out / f"{path.stem}.depth.png")
        assert depth.shape == (height, width)
        assert not metric
        normals = read_normal_png(out / f"{path.stem}.normals.png")
        length = torch.linalg.vector_norm(normals, dim=0)
        assert ((length - 1).abs() < 1e-3)[length > 0].all()
        coco = json.loads((out / f"{path.stem}.coco.json").read_text())
        assert len(coco["annotations"][0]["keypoints"]) == 17 * 3
    whole = json.loads((out / "coco.json").read_text())
    assert [image["file_name"] for image in whole["images"]] == [path.name for path in pictures]
    assert [each["image_id"] for each in whole["annotations"]] == [1, 2, 3]
    assert [each["id"] for each in whole["annotations"]] == [1, 2, 3]


def test_what_was_measured_of_a_picture_is_said_of_its_people(pictures, model, tmp_path):
    height, width = cv2.imread(str(pictures[0])).shape[:2]
    share = torch.full((height, width), 0.75)
    write_tiff(pictures[0].with_suffix(".measured.tif"), share)
    out = tmp_path / "out"
    result = run(*pictures[:2], "--model", model, "--out", out, "--min-score", 0)
    assert result.exit_code == 0, result.stderr
    found = json.loads((out / "a.people.json").read_text())["found"]
    (keypoints,) = found["support"]["keypoints"]
    assert len(keypoints) == len(found["support"]["names"]) == 18
    assert all(value is None or value == pytest.approx(0.75) for value in keypoints)
    assert set(found["support"]["parts"]) <= set(PARTS)
    assert cv2.imread(str(out / "a.people.png")).shape[1] == 5 * width + 4 * 8
    assert "support" not in json.loads((out / "b.people.json").read_text())["found"]
    # Another map is another picture to look at.
    write_tiff(pictures[0].with_suffix(".measured.tif"), share[:, :-1])
    again = run(*pictures[:2], "--model", model, "--out", out, "--min-score", 0)
    assert again.exit_code == 1
    assert "a.measured.tif: has shape" in again.stderr and "b.jpg: done before" in again.stdout


def test_what_is_done_is_passed_over_until_something_changes(pictures, model, tmp_path):
    out = tmp_path / "out"
    arguments = (*pictures[:2], "--model", model, "--out", out)
    assert run(*arguments).exit_code == 0
    before = (out / "a.people.png").stat().st_mtime_ns
    again = run(*arguments)
    assert again.exit_code == 0
    assert again.stdout.count("done before") == 2
    assert (out / "a.people.png").stat().st_mtime_ns == before
    assert (out / "coco.json").is_file()
    (out / "b.depth.png").unlink()
    cv2.imwrite(str(pictures[0]), np.zeros((30, 30, 3), np.uint8))
    assert run(*arguments).stdout.count("done before") == 0
    assert run(*arguments).stdout.count("done before") == 2
    assert run(*arguments, "--tasks", "pose").stdout.count("done before") == 0
    assert "depth" not in json.loads((out / "a.people.json").read_text())["files"]


def test_bad_files_are_named_and_the_rest_go_on(pictures, model, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.jpg").write_bytes(pictures[1].read_bytes()[:200])
    (tmp_path / "film.mp4").write_bytes(b"\0" * 500)
    bad = [tmp_path / name for name in ("text.png", "cut.jpg", "film.mp4", "missing.png")]
    out = tmp_path / "out"
    result = run(bad[0], *pictures[:1], *bad[1:], "--model", model, "--out", out)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("barelens:")]
    for path in bad:
        assert sum(path.name in line for line in lines) == 1, (path, lines)
    assert lines[-1] == "barelens: 4 of 5 files failed"
    assert {path.name.split(".")[0] for path in out.iterdir()} == {"a", "coco"}


def test_videos_give_a_film_and_a_line_for_each_frame(model, tmp_path):
    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    with write_video(clip, frames_per_s=10) as write:
        for n in range(7):
            picture = np.full((60, 80, 3), 40, np.uint8)
            picture[10:50, 10 + 4 * n : 30 + 4 * n] = 200
            write(torch.from_numpy(picture))
    arguments = (clip, "--model", model, "--out", out, "--tasks", "pose,parts", "--step", "2")
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    frames = [json.loads(line) for line in (out / "clip.people.jsonl").read_text().splitlines()]
    assert [frame["frame"] for frame in frames] == [0, 2, 4, 6]
    assert {number for frame in frames for each in frame["people"] for number in
            each["person_id"]} == {0}  # fmt: skip
    film = cv2.VideoCapture(str(out / "clip.people.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert film.get(cv2.CAP_PROP_FPS) == 5
    assert film.get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 80 + 8
    assert json.loads((out / "clip.people.json").read_text())["found"] == {"tracks": 1}
    assert "done before" in run(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "albedo"], "tasks must be of pose, segmentation, depth, normal, got albedo"),
        (["--tasks", "magic"], "unknown task 'magic'"),
        (["--layout", "halpe"], "layout must be coco17"),
        (["--step", "0"], "step must be at least 1"),
        (["--dtype", "int8"], "dtype must be float32 or bfloat16"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--batch-size", "0"], "batch_size must be at least 1"),
    ],
)
def test_wrong_settings_end_with_one_line(pictures, model, tmp_path, arguments, message):
    result = run(pictures[0], "--model", model, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_shipped_model_the_message_says_what_to_do(pictures, tmp_path, monkeypatch):
    def nothing(name):
        raise FileNotFoundError(name)

    monkeypatch.setattr(data, "path", nothing)
    result = run(pictures[0], "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "barelens train human" in result.stderr


def test_pictures_of_one_name_are_refused(model, tmp_path):
    result = run("a/x.png", "b/x.jpg", "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "would both be written as x" in result.stderr
