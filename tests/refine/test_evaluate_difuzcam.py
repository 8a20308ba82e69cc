"""``barelens evaluate difuzcam`` on data of the published layouts, at toy size."""

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from barelens.app import evaluation
from barelens.app.cli import cli
from barelens.app.evaluation import Scores, summarise
from barelens.imaging import ShapeError
from barelens.imaging.files import FileError
from barelens.imaging.refine import Refiner, RefinerSettings
from barelens.imaging.refine.difuzcam import PREPARATIONS, Preparation, read_pairs, square_picture

CAPTIONS = ["a dark thing", "something dark"]


def _png(array):
    return cv2.imencode(".png", array)[1].tobytes()


@pytest.fixture(scope="module")
def content():
    """Three pairs: 16-bit captures of 48x56 and pictures of 40x50, as PNG."""
    rng = np.random.default_rng(0)
    return [
        (
            _png(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)),
            _png(rng.integers(0, 65536, (48, 56), dtype=np.uint16)),
        )
        for _ in range(3)
    ]


@pytest.fixture
def listed(content, tmp_path):
    folder = tmp_path / "listed" / "validation"
    folder.mkdir(parents=True)
    lines = []
    for number, (picture, capture) in enumerate(content):
        (folder / f"p{number}.png").write_bytes(picture)
        (folder / f"c{number}.png").write_bytes(capture)
        names = {"file_name": f"p{number}.png", "conditioning_file_name": f"c{number}.png"}
        lines.append(json.dumps({**names, "text": CAPTIONS}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder.parent


@pytest.fixture
def table(content, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "image": [{"bytes": picture, "path": "p.png"} for picture, _ in content],
        "captions": [CAPTIONS] * len(content),
        "measurement": [{"bytes": capture, "path": None} for _, capture in content],
    }
    schema = pa.schema(
        [("image", image), ("captions", pa.list_(pa.string())), ("measurement", image)]
    )
    folder = tmp_path / "table"
    (folder / "data").mkdir(parents=True)
    parquet.write_table(
        pa.Table.from_pydict(columns, schema=schema),
        folder / "data" / "validation-00000-of-00001.parquet",
    )
    return folder


@pytest.fixture
def toy_preparation(monkeypatch):
    preparation = Preparation((48, 56), 65535, 0.01, 2, 2, 20, 24)
    monkeypatch.setitem(PREPARATIONS, (20, 24), preparation)
    return preparation


def _run(*arguments):
    arguments = ["evaluate", "difuzcam", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(cli, arguments)


def test_both_layouts_hold_the_same_pairs(listed, table, content):
    for folder in (listed, table):
        pairs = list(read_pairs(folder))
        assert len(pairs) == 3
        for pair, (picture, capture) in zip(pairs, content, strict=True):
            stored = cv2.imdecode(np.frombuffer(capture, np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(pair.capture.numpy(), stored)
            bgr = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
            shown = (pair.picture * 255).round().byte().permute(1, 2, 0).numpy()
            assert np.array_equal(shown, bgr[:, :, ::-1])
            assert pair.captions == tuple(CAPTIONS)


def test_preparation_is_flatnets_for_real_frames():
    preparation = PREPARATIONS[(500, 620)]
    raw = torch.randint(0, 65536, (1024, 1280), generator=torch.Generator().manual_seed(0))
    found = preparation(raw)
    from skimage.transform import SimilarityTransform, warp

    frame = raw.numpy() / 65535
    planes = np.stack(  # B, Gb, Gr, R as the published code cuts them
        [frame[0::2, 0::2], frame[0::2, 1::2], frame[1::2, 0::2], frame[1::2, 1::2]], axis=-1
    )
    turned = warp(planes, SimilarityTransform(rotation=0.00174))[6:506, 10:630]
    rows, columns = turned.mean(1, keepdims=True), turned.mean(0, keepdims=True)
    expected = turned - rows - columns + rows.mean(0, keepdims=True)
    expected = torch.from_numpy(expected).permute(2, 0, 1).flip(0).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    with pytest.raises(ShapeError, match=r"raw must have shape \(\.\.\., 1024, 1280\)"):
        preparation(raw[:100])


def test_dark_frames_are_taken_off(toy_preparation):
    raw = torch.randint(3000, 60000, (48, 56), generator=torch.Generator().manual_seed(0))
    dark = torch.randint(0, 3000, (48, 56), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(toy_preparation(raw, dark), toy_preparation(raw - dark))


def test_square_pictures_are_the_centre():
    ramp = torch.arange(60.0).expand(3, 30, 60)
    found = square_picture(ramp, 30)
    torch.testing.assert_close(found[0, 0], torch.arange(15.0, 45.0))
    assert square_picture(torch.rand(3, 33, 47), 64).shape == (3, 64, 64)


@pytest.mark.parametrize("layout", ["listed", "table"])
def test_the_command_measures_every_pair(request, toy, toy_preparation, tmp_path, layout):
    folder = request.getfixturevalue(layout)
    toy.parts("capture", "latent").save(tmp_path / "model")
    out = tmp_path / "scores.json"
    usual = ("--data", folder, "--model", tmp_path / "model", "--no-captions", "--steps", 2)
    result = _run(*usual, "--out", out)
    assert result.exit_code == 0, result.stderr
    record = json.loads(out.read_text())
    assert record["pairs"] == len(record["scores"]) == 3
    assert 5 < record["psnr_db"] < 20 and record["psnr_db_error"] > 0
    assert record["published"] == {"psnr_db": 20.43, "ssim": 0.612, "lpips": 0.237}
    assert "20.43" in result.stdout and "3 pairs" in result.stdout
    if record["lpips"] is None:
        assert "LPIPS is left out" in result.stderr and "not measured" in result.stdout
    again = _run(*usual, "--out", out)
    assert again.exit_code == 1 and "exists" in again.stderr
    limited = _run(*usual, "--limit", 1)
    assert limited.exit_code == 0 and "1 pairs" in limited.stdout


def test_the_published_checkpoint_scores_as_the_same_model_of_ours(
    toy, toy_preparation, listed, tmp_path
):
    parts = toy.parts("capture", "latent")
    parts.save(tmp_path / "ours")
    # As in the published repository, some folders down.
    theirs = tmp_path / "theirs" / "checkpoint-500000" / "controlnet"
    transform = parts.controlnet.transform
    parts.controlnet.controlnet.save_pretrained(theirs)
    state = parts.controlnet.controlnet.state_dict()
    conditioning = "controlnet_cond_embedding.conv_in.weight"
    published = {
        **state,
        conditioning: state[conditioning].flip(1),
        "flat_inverse.PhiL": transform.weight_left.detach().flip(0),
        "flat_inverse.PhiR": transform.weight_right.detach().flip(0),
        "conv.weight": parts.controlnet.preview.weight.detach().flip(1),
        "conv.bias": parts.controlnet.preview.bias.detach(),
    }
    save_file(
        {name: value.contiguous() for name, value in published.items()},
        theirs / "diffusion_pytorch_model.safetensors",
    )
    scores = []
    for model, base in (
        (tmp_path / "ours", ()),
        (tmp_path / "theirs", ("--base", tmp_path / "ours")),
    ):
        out = tmp_path / f"{model.name}.json"
        usual = ("--data", listed, "--no-captions", "--steps", 2, "--limit", 1, "--out", out)
        result = _run(*usual, "--model", model, *base)
        assert result.exit_code == 0, result.stderr
        scores.append(json.loads(out.read_text())["psnr_db"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_scores_are_of_the_right_picture(toy, toy_preparation, listed):
    pair = next(iter(read_pairs(listed)))
    refiner = Refiner(toy.parts("capture", "latent"))
    settings = RefinerSettings(steps=1)
    picture = (refiner.from_capture(toy_preparation(pair.capture)[None], settings) + 1) / 2
    perfect = evaluation.Pair("own", pair.capture, picture[0].clamp(0, 1))
    scores = evaluation.evaluate_pair(
        perfect,
        refiner,
        settings,
        preparation=toy_preparation,
        perceptual=lambda image, reference, data_range: (image - reference).abs().max(),
    )
    assert scores.psnr_db > 80 and scores.ssim > 0.999 and scores.lpips < 1e-4


def test_means_and_their_errors():
    scores = [Scores(str(i), psnr, 0.5, None) for i, psnr in enumerate((10.0, 12.0, 14.0))]
    found = summarise(scores)
    assert (found.psnr_db, found.ssim, found.lpips) == (12.0, 0.5, None)
    assert found.psnr_db_error == pytest.approx(2 / 3**0.5)
    assert summarise(scores[:1]).psnr_db_error is None
    with pytest.raises(ValueError, match="no pair"):
        summarise([])


def test_wrong_data_and_models_are_named(toy, listed, tmp_path):
    model = tmp_path / "model"
    toy.parts("capture", "latent").save(model)
    result = _run("--data", listed, "--model", model)
    assert result.exit_code == 1
    assert "captures of 500x620 or 952x1276, this one takes 20x24" in result.stderr
    linear = tmp_path / "linear"
    toy.parts("linear", "pixel").save(linear)
    result = _run("--data", listed, "--model", linear)
    assert "needs a model that sees captures" in result.stderr
    with pytest.raises(FileNotFoundError, match="neither Parquet files named after 'test'"):
        next(read_pairs(listed, "test"))
    (listed / "validation" / "metadata.jsonl").write_text('{"file_name": "p0.png"}')
    with pytest.raises(FileError, match="line 1"):
        next(read_pairs(listed))


def test_damaged_tables_are_named(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "validation.parquet").write_bytes(b"rubbish")
    with pytest.raises(FileError, match=r"validation\.parquet"):
        next(read_pairs(tmp_path))
