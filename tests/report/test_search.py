"""`sslx search`: the image itself is found first, from embeddings made now as from stored ones."""

import numpy as np
import pytest
from test_frozen import SHAPE, workdir_of

from sslx import cli
from sslx.report import looks


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with a run, a data set of 30 images and one of them as a file."""
  path = tmp_path_factory.mktemp("search")
  images = np.random.default_rng(0).integers(0, 255, (30, *SHAPE), np.uint8)
  np.savez(path / "set.npz", images=images, labels=np.arange(30) % 3)
  np.save(path / "seventh.npy", images[7])
  workdir_of(path / "run", name=f"npz:{path}/set.npz")
  assert cli.main(["embed", "--workdir", f"{path}/run", "--split", "train", "--out", f"{path}/train.npz"]) == 0
  return path


def search(place, *options, image="seventh.npy"):
  return cli.main(["search", "--workdir", f"{place}/run", "--image", f"{place}/{image}", *options])


def test_the_image_itself_comes_first(place):
  from sslx import data
  source = data.load(f"npz:{place}/set.npz")
  images = source.batch(np.arange(len(source)))["image"]
  np.save(place / "mine.npy", images[3])
  pages = []
  for options in ((), ("--index", f"{place}/train.npz")):
    assert search(place, "--k", "4", *options, image="mine.npy") == 0
    pages.append((place / "run/search.html").read_text())
  cut = lambda page: page[page.index("<section>"):]
  assert cut(pages[0]) == cut(pages[1])
  found = pages[0].split("<figure>")[1:]
  assert len(found) == 4 and looks.thumbnail(images[3]) in found[0] and "1.000" in found[0]
  assert f"{source.labels[3]} &#183; 3" in found[0]


def test_what_cannot_be_searched_is_one_line(place, capsys):
  (place / "broken.jpg").write_bytes(b"\xff\xd8 no")
  np.savez(place / "short.npz", embeddings=np.zeros((3, 6), np.float32))
  with np.load(place / "train.npz") as file:
    arrays = dict(file)
  np.savez(place / "other.npz", embeddings=arrays["embeddings"][::-1])
  np.savez(place / "later.npz", **arrays | {"encoder": "0123456789abcdef"})                # nearly the same numbers
  np.savez(place / "nan.npz", **arrays | {"embeddings": arrays["embeddings"] * [1, 1, 1, 1, 1, np.nan]})
  np.savez(place / "text.npz", embeddings=np.full(arrays["embeddings"].shape, "a"))
  for code, options, image, said in (
      (2, (), "none.png", "cannot read"), (1, (), "broken.jpg", "no image that can be read"),
      (2, ("--index", f"{place}/none.npz"), "seventh.npy", "`sslx embed --workdir"),
      (2, ("--index", f"{place}/short.npz"), "seventh.npy", "give the --data and --split"),
      (2, ("--index", f"{place}/other.npz"), "seventh.npy", "of another encoder, or of other images"),
      (2, ("--index", f"{place}/later.npz"), "seventh.npy", "of another encoder, or of other images"),
      (2, ("--index", f"{place}/nan.npz"), "seventh.npy", "not finite"),
      (2, ("--index", f"{place}/text.npz"), "seventh.npy", "not what `sslx embed` writes"),
      (2, ("--index", f"{place}/seventh.npy"), "seventh.npy", "not what `sslx embed` writes"),
      (2, ("--index", f"{place}/set.npz"), "seventh.npy", "not what `sslx embed` writes"),
      (2, ("--k", "0"), "seventh.npy", "k is 0")):
    assert search(place, *options, image=image) == code
    line, = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("sslx: ") and said in line
