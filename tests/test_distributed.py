"""Bulk encoding: which files become which, reports, and workers that are killed. About 25 seconds."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from head_clips import head_frames, write_clip

from bcdcodec.container import open_bcd
from bcdcodec.distributed import Result, list_jobs, write_report
from bcdcodec.distributed.pipeline import gpu_share
from bcdcodec.distributed.worker import Worker, remove_partial
from bcdcodec.errors import BcdError
from bcdcodec.files.encode_file import EncodeOptions
from bcdcodec.model_folder import open_model


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def places(jobs, root):
    return {os.path.relpath(job.source, root): job.target for job in jobs}


def test_videos_of_a_folder_keep_their_places(tmp_path):
    touched(tmp_path, "a/1.mp4", "b/1.mp4", "b/1.mkv", "b/notes.txt", ".hidden/2.mp4", "c/0.png", "c/1.png")
    assert places(list_jobs([tmp_path], "memory://out"), tmp_path) == {
        "a/1.mp4": "memory:///out/a/1.bcd",
        "b/1.mp4": "memory:///out/b/1.mp4.bcd",
        "b/1.mkv": "memory:///out/b/1.mkv.bcd",
        "c": "memory:///out/c.bcd",
    }


def test_sources_are_also_patterns_and_lists(tmp_path):
    touched(tmp_path, "a.mp4", "b.mp4", "c.mkv")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/c.mkv\n\n{tmp_path}/a.mp4\n")
    assert list(places(list_jobs([tmp_path / "*.mp4"], "out"), tmp_path)) == ["a.mp4", "b.mp4"]
    assert list(places(list_jobs([tmp_path / "list.txt"], "out"), tmp_path)) == ["c.mkv", "a.mp4"]


def test_wrong_sources_are_refused(tmp_path):
    touched(tmp_path, "a/1.mp4", "b/1.mp4", "empty/readme.md")
    with pytest.raises(BcdError, match=r"a/1.mp4 and \S*b/1.mp4 would both become \S*out/1.bcd"):
        list_jobs([tmp_path / "a", tmp_path / "b"], "out")
    with pytest.raises(BcdError, match="no video in .*empty"):
        list_jobs([tmp_path / "empty"], "out")
    with pytest.raises(BcdError, match="cannot open .*none.mp4: no such file"):
        list_jobs([tmp_path / "none.mp4"], "out")
    with pytest.raises(BcdError, match="cannot write to foo://out: .*foo"):
        list_jobs([tmp_path], "foo://out")


def test_a_cluster_that_does_not_answer_is_refused_at_once(monkeypatch, bcd, tmp_path):
    pytest.importorskip("ray")
    source = write_clip(tmp_path / "a.mp4", head_frames(0, 2, 32))
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        done = bcd("encode", source, "--out", tmp_path / "out", "--model", "sprites", "--workers", 1)
    assert done.code == 1 and f"no Ray at RAY_ADDRESS {address}" in done.err


@pytest.mark.parametrize("gpus, workers, share", [(0, 4, 0), (2, 1, 1), (2, 2, 1), (2, 8, 0.25), (1, 3, 0.3333)])
def test_workers_share_the_gpus(gpus, workers, share):
    assert gpu_share({"GPU": gpus}, workers) == share


def test_a_worker_moves_files_between_file_systems(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(write_clip(tmp_path / "clip.mp4", head_frames(0, 12, 32))), "/in/clip.mp4")
    (job,) = list_jobs(["memory://in"], "memory://out")
    worker = Worker(EncodeOptions("sprites", "cpu"))
    done = worker.encode(job)
    assert (done.status, done.frames, memory.ls("/out", detail=False)) == ("encoded", 12, ["/out/clip.bcd"])
    assert done.bytes_total == memory.size("/out/clip.bcd")
    again = worker.encode(job)
    assert again.status == "present", again.message
    assert again.bytes_motion == done.bytes_motion and again.frames == 12
    worker.folder = open_model("heads")
    refused = worker.encode(job)
    assert refused.status == "failed" and "of another model" in refused.message


def test_temporary_files_of_these_jobs_alone_are_removed(tmp_path):
    touched(tmp_path, "a.mp4", "out/.a.bcd.0123abcd.part", "out/.b.bcd.0123abcd.part", "out/a.bcd")
    remove_partial(list_jobs([tmp_path / "a.mp4"], tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out")) == [".b.bcd.0123abcd.part", "a.bcd"]


def test_a_report_appears_when_it_is_whole(tmp_path):
    rows = write_report(tmp_path / "r.csv", iter([Result("a", "b", "encoded", frames=3)] * 2))
    next(rows)
    assert not (tmp_path / "r.csv").exists()
    assert len(list(rows)) == 1
    with (tmp_path / "r.csv").open() as stream:
        assert [row["frames"] for row in csv.DictReader(stream)] == ["3", "3"]
    with pytest.raises(BcdError, match=r"suffix is '.txt', expected .parquet or .csv"):
        write_report(tmp_path / "r.txt", [])


# ---- with Ray


@pytest.fixture(scope="module")
def ray():
    os.environ.setdefault("RAY_worker_niceness", "0")  # else workers hardly run beside other tests
    ray = pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    try:
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    except Exception as error:  # its own time limits, on a machine with far too much work
        pytest.skip(f"Ray does not start here: {error}")
    yield ray
    ray.shutdown()


def test_a_killed_worker_loses_and_doubles_nothing(ray, bcd, tmp_path):
    import pyarrow.parquet

    from bcdcodec.distributed import encode_all

    (tmp_path / "in").mkdir()
    for i in range(6):
        write_clip(tmp_path / f"in/{i}.mp4", head_frames(i, 12, 32))
    (tmp_path / "in/bad.mp4").write_bytes(b"no video")
    results = encode_all([tmp_path / "in"], tmp_path / "out", EncodeOptions("sprites", "cpu"), workers=2)
    rows = [next(results)]
    os.kill(int(rows[0].worker.split(":")[1]), signal.SIGKILL)
    rows += results
    names = [f"{i}.bcd" for i in range(6)]
    assert sorted(os.listdir(tmp_path / "out")) == names
    assert sorted(os.path.basename(row.target) for row in rows) == [*names, "bad.bcd"]
    assert {row.source[-7:] for row in rows if row.status == "failed"} == {"bad.mp4"}
    for name in names:
        with open_bcd(tmp_path / "out" / name) as reader:
            assert reader.complete and reader.frames == 12
    # The same command again, with the bad file mended and one result removed, does only these.
    write_clip(tmp_path / "in/bad.mp4", head_frames(7, 12, 32))
    (tmp_path / "out/3.bcd").unlink()
    report = tmp_path / "r.parquet"
    command = ("encode", tmp_path / "in", "--out", tmp_path / "out", "--model", "sprites", "--device", "cpu")
    done = bcd(*command, "--workers", 2, "--report", report)
    assert done.code == 0 and "7 of 7 encoded" in done.out
    table = pyarrow.parquet.read_table(report).to_pylist()
    assert {os.path.basename(row["target"]) for row in table if row["status"] == "encoded"} == {"3.bcd", "bad.bcd"}
    assert len(table) == 7 and all(row["frames"] == 12 for row in table)


def test_more_workers_than_cores_and_missing_gpus_are_refused(ray, bcd, tmp_path):
    source = write_clip(tmp_path / "a.mp4", head_frames(0, 2, 32))
    command = ("encode", source, "--out", tmp_path / "out", "--model", "sprites", "--workers")
    assert "3 workers are asked for, Ray has 2 cores: each worker needs one" in bcd(*command, 3).err
    assert "--device cuda is asked for, Ray has no GPU here" in bcd(*command, 1, "--device", "cuda").err


def test_options_for_workers_need_each_other(bcd, tmp_path):
    assert "--workers goes with --out" in bcd("encode", "a.mp4", "a.bcd", "--workers", 2).err
    assert "--report with --workers" in bcd("encode", "a.mp4", "--out", tmp_path, "--report", "r.csv").err


def test_a_cluster_of_two_nodes_survives_a_worker_and_then_a_node(tmp_path):
    """In a process of its own, as one process has one Ray."""
    pytest.importorskip("ray")
    (tmp_path / "in").mkdir()
    for i in range(12):
        write_clip(tmp_path / f"in/{i}.mp4", head_frames(i % 3, 12, 32))
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, tmp_path / "in", tmp_path / "out"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = re.findall(r"^row (\d+) (\w+)$", done.stdout, re.MULTILINE)  # Ray prints, too
    assert sorted(int(place) for place, _ in rows) == list(range(12))
    assert {status for _, status in rows} <= {"encoded", "present"}  # present: its worker died before it could tell
    assert sorted(os.listdir(tmp_path / "out")) == sorted(f"{i}.bcd" for i in range(12))
    for i in range(12):
        with open_bcd(tmp_path / f"out/{i}.bcd") as reader:
            assert reader.complete and reader.frames == 12


CLUSTER = """
import os
import signal
import sys
from pathlib import Path

os.environ["RAY_worker_niceness"] = "0"
import ray
from ray.cluster_utils import Cluster

from bcdcodec.distributed import encode_all
from bcdcodec.files.encode_file import EncodeOptions

size = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args=size)
ray.init(cluster.address, log_to_driver=False)  # of the first node: this process would die with the other one
other = cluster.add_node(**size)
cluster.wait_for_nodes()
assert ray.cluster_resources()["CPU"] == 2
results = encode_all(sys.argv[1:2], sys.argv[2], EncodeOptions("sprites", "cpu"), workers=2)
for done, result in enumerate(results, start=1):
    print("row", Path(result.source).stem, result.status, flush=True)
    if done == 2:
        os.kill(int(result.worker.split(":")[1]), signal.SIGKILL)
    if done == 6:
        cluster.remove_node(other, allow_graceful=False)
ray.shutdown()
cluster.shutdown()
"""
