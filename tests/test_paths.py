import functools
import http.server
import threading

import fsspec
import pytest
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from sslx import checkpoint, data, errors, log, paths


class Bucket(MemoryFileSystem):
  """Objects in memory in the place of Google's."""
  protocol, store, pseudo_dirs = "gs", {}, [""]
  cachable = False

  @classmethod
  def _strip_protocol(cls, path):
    return MemoryFileSystem._strip_protocol(path.replace("gs://", "memory://"))


@pytest.fixture
def bucket(monkeypatch):
  monkeypatch.setattr(type(backend.fsspec_backend), "fs", lambda self, path: Bucket())
  monkeypatch.setattr(paths, "EXTRAS", {})
  Bucket.store.clear()
  Bucket.pseudo_dirs[:] = [""]
  return Bucket()


def test_files_and_log_of_a_run_in_a_bucket(bucket):
  workdir = "gs://runs/one"
  paths.path(workdir).mkdir(parents=True, exist_ok=True)
  checkpoint.write_json(f"{workdir}/config.json", {"a": 1})
  assert checkpoint.read_json(f"{workdir}/config.json") == {"a": 1}
  assert checkpoint.folders(workdir) == []
  for step in (20, 100):
    bucket.pipe(f"gs://runs/one/checkpoints/{step}/commit_success.txt", b"")
  bucket.pipe("gs://runs/one/checkpoints/200/x", b"")         # of a save that was cut short
  assert [p.name for p in checkpoint.folders(workdir)] == ["20", "100"]
  for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):         # going on from step 2, the third is written again
    record = log.Log(workdir, start=start, unit=1)
    for n in steps:
      record.write(n, {"loss": n + start})
    record.flush()
    assert [r["loss"] for r in log.read(f"{workdir}/metrics.jsonl")] == ([1, 2, 3] if not start else [1, 2, 5, 6])
    record.close()


def test_where_a_run_can_be(monkeypatch):
  monkeypatch.setattr(paths.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.UsageError, match="gs://runs/one needs gcsfs: pip install"):
    paths.path("gs://runs/one")
  with pytest.raises(errors.UsageError, match="mount the bucket"):
    paths.path("s3://runs/one")
  assert paths.absolute("gs://runs/one") == "gs://runs/one"
  assert data.absolute("folder:s3://photos/") == "folder:s3://photos"
  with pytest.raises(errors.UsageError, match="the file cannot be gs://a/e.npz: give a path of this machine"):
    checkpoint.write_npz("gs://a/e.npz", {})
  with pytest.raises(errors.UsageError, match="data.dir, or TFDS_DATA_DIR, cannot be gs://a"):
    data.directory("gs://a")


def test_a_web_server_and_what_is_secret(tmp_path):
  (tmp_path / "words.txt").write_text("to be")
  class Quiet(http.server.SimpleHTTPRequestHandler):
    log_message = lambda *args: None
  handler = functools.partial(Quiet, directory=str(tmp_path))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    told = []
    assert paths.fetched(f"{address}/words.txt?key=abc", tmp_path / "c", told.append).read_text() == "to be"
    with pytest.raises(errors.RunError) as caught:
      paths.fetched(f"{address}/none.txt?key=abc", tmp_path / "c")
    server.shutdown()
  assert "abc" not in str(caught.value) + told[0] and "1 file, 0 MB" in told[0]
  assert paths.shown("s3://me:secret@host/a?b=c") == "s3://host/a?..."


def test_data_are_fetched_once_until_they_change(tmp_path):
  files, told = fsspec.filesystem("memory"), []
  files.pipe({"/photos/train/a/1.png": b"one", "/photos/test/b/2.png": b"two"})
  here = paths.fetched("memory://photos", tmp_path, told.append)
  assert here.name == "photos" and (here / "train/a/1.png").read_bytes() == b"one"
  assert paths.fetched("memory://photos", tmp_path, told.append) == here and len(told) == 1 and "2 files" in told[0]
  files.pipe("/photos/train/a/1.png", b"changed")
  again = paths.fetched("memory://photos", tmp_path, told.append)
  assert (again / "train/a/1.png").read_bytes() == b"changed" and again != here and len(told) == 2
  assert paths.fetched("memory://photos/train/a/1.png", tmp_path).read_bytes() == b"changed"      # a file by itself
  (tmp_path / f".{again.parent.name}.left.part").mkdir()     # of a process that was killed
  files.rm("/photos/test", recursive=True)
  assert len(list(paths.fetched("memory://photos", tmp_path).rglob("*.png"))) == 1
  with pytest.raises(errors.UsageError, match="nothing at memory://none"):
    paths.fetched("memory://none", tmp_path)
  with pytest.raises(errors.RunError, match=r"cannot fetch odd://x: \w+: "):
    paths.fetched("odd://x", tmp_path)


def test_a_url_is_a_data_set(tmp_path, monkeypatch):
  files = fsspec.filesystem("memory")
  files.pipe({f"/words/{split}.txt": b"to be or not to be\n" * 40 for split in ("train", "test")})
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  source = data.load("text:memory://words", split="train", length=8)
  assert len(source) > 10 and source[0]["text"].shape == (8,)
