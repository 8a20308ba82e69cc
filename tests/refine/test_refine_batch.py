"""Batches that refine: the files of both stages, and one row that knows of both."""

import pytest

from barelens import Pipeline, data
from barelens.imaging.files import read_raw
from barelens.imaging.refine import Refiner

pq = pytest.importorskip("pyarrow.parquet")


def test_a_batch_is_refined_once(toy, tmp_path):
    settings = {"steps": 1, "scheduler": "ddim"}
    parts = toy.parts("linear", "pixel", "sample", patch=4, residual_scale=0.5, settings=settings)
    pipeline = Pipeline(
        data.path("flatcam/camera.safetensors"), refiner=Refiner(parts), trust=False, batch_size=2
    )
    names = ("fc_6", "fc_7")
    frames = [(name, read_raw(data.path(f"flatcam/{name}.png"))) for name in names]
    assert pipeline.run(frames, tmp_path).done == 2
    suffixes = ("linear.tif", "linear.png", "linear.json", "both.png")
    suffixes += ("refined.tif", "refined.png", "refined.json")
    wanted = {f"{name}.{suffix}" for name in names for suffix in suffixes}
    assert {path.name for path in tmp_path.iterdir()} - wanted == {
        "manifest.parquet",
        "manifest.sqlite",
    }
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert [row["name"] for row in rows] == list(names)
    assert all(len(row["refined_residual"]) == len(row["residual"]) == 4 for row in rows)
    (tmp_path / "manifest.sqlite").unlink()
    assert pipeline.run(frames, tmp_path).skipped == 2
    assert [name for name, _ in pipeline.scenes(frames)] == list(names)
