"""A Ray job survives the loss of a machine: every capture ends up exactly once."""

import tarfile
from functools import partial

import pytest

from barelens.app.batch import Pipeline
from barelens.app.pipeline import LinearSettings
from barelens.imaging.files import read_tiff16

ray = pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")

CAPTURES, IN_SHARD = 20, 3


@pytest.fixture
def cluster():
    """Two machines, as far as Ray can tell, beside a head that does no work."""
    from ray.cluster_utils import Cluster

    memory = 80 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    workers = [cluster.add_node(num_cpus=2, object_store_memory=memory) for _ in range(2)]
    yield cluster, workers
    ray.shutdown()
    cluster.shutdown()


def test_a_machine_is_killed_in_mid_run(cluster, camera, write_frames, tmp_path):
    from barelens.app.batch.on_ray import run_on_ray

    machines, workers = cluster
    folder, out = write_frames(tmp_path / "in", CAPTURES), tmp_path / "out"
    (folder / "bad.png").write_text("hello")
    with tarfile.open(folder / "shard.tar", "w") as archive:
        for path in sorted(folder.glob("frame-*"))[:IN_SHARD]:
            archive.add(path, path.name)
    slow = LinearSettings(method="fista", iterations=2000)
    make = partial(Pipeline, camera, slow, trust=False, threads=1)
    killed_at, named = [], []

    def kill_one(progress):
        if progress.done >= 3 and not killed_at:
            machines.remove_node(workers[0], allow_graceful=False)
            killed_at.append(progress.done)

    progress = run_on_ray(
        make,
        folder,
        out,
        address=machines.address,
        on_progress=kill_one,
        on_error=lambda origin, error: named.append(origin),
    )
    assert killed_at and killed_at[0] < CAPTURES
    assert (progress.done, progress.failed, progress.skipped) == (CAPTURES + IN_SHARD, 1, 0)
    assert named == ["bad.png"]
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    names = [path.stem for path in folder.glob("*.png")]
    names += [f"shard/frame-{index:04d}" for index in range(IN_SHARD)]
    assert [row["name"] for row in rows] == sorted(names)
    assert [row["name"] for row in rows if row["error"]] == ["bad"]
    for row in rows[1:]:
        assert read_tiff16(out / f"{row['name']}.linear.tif").shape == (8, 10)
    (folder / "bad.png").unlink()
    again = run_on_ray(make, folder, out)
    assert (again.done, again.failed, again.skipped) == (0, 0, CAPTURES + IN_SHARD)


def test_frames_in_memory_are_refused(camera, frames, tmp_path):
    from barelens.app.batch.on_ray import run_on_ray

    with pytest.raises(TypeError, match="must be paths or URLs, got Tensor"):
        run_on_ray(partial(Pipeline, camera, trust=False), frames, tmp_path)
