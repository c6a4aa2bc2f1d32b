"""The images of a data set that an encoder finds most like a given one: one HTML page."""

import functools
import os
import pathlib
import zipfile
import zlib

import numpy as np

from sslx import checkpoint, data as datasets, errors, evaluate, frozen, paths, report
from sslx.data import decode, solid
from sslx.evaluate.knn import nearest
from sslx.report import looks

SAMPLE = 8                   # images that are embedded again, to see whether an index is of this encoder


def write(workdir, images, *, data=None, split="train", index=None, k=12, step=None, out=None):
  """Writes a page with the k nearest examples, by cosine, to each of the files, and returns its path.

  Args:
    workdir, step: of the run whose encoder looks.
    images: files: images, or for an encoder of voxels or points .npy arrays.
    data, split: where to look; None is the run's own data.
    index: file that `sslx embed` wrote of that split, in place of embedding it now.
    out: the page; default: workdir/search.html.

  Raises:
    errors.UsageError: no such file, an index of another set or encoder, an encoder that reads text, audio or video.
    errors.RunError: a file that is no image or array, or a damaged one.
  """
  out = report.place(paths.path(workdir) / "search.html" if out is None else out, "page")
  if k < 1:
    raise errors.UsageError(f"k is {k}; it must be at least 1")
  encoder = checkpoint.load_encoder(workdir, step=step)
  if encoder.reads not in ("image", "voxels", "points"):
    raise errors.UsageError(f"the encoder in {workdir} reads {encoder.reads}; the search is for images, voxels and "
                            "points")
  queries = [opened(path, encoder) for path in images]
  source = frozen.load_data(encoder, data, split)
  see = functools.partial(looks.picture, encoder.reads)
  x = evaluate.embed(encoder, queries)
  bank = embeddings(encoder, source) if index is None else stored(index, encoder, source)
  cosines, rows = nearest(x, bank, k)
  found = source.batch(rows.reshape(-1))[source.key].reshape(*rows.shape, *source.shape)
  report.save(out, "search.html.jinja", workdir=str(workdir), name=source.name, split=split, count=len(source),
              crisp=looks.crisp(source.shape), rows=[
                  (os.path.basename(path), see(query),
                   [(see(image), f"{cosine:.3f}", caption(source, row))
                    for image, cosine, row in zip(*parts, strict=True)])
                  for path, query, *parts in zip(images, queries, found, cosines, rows, strict=True)])
  return out


def opened(path, encoder):
  """The pixels of an image file, or what a file of voxels or points holds, as the encoder needs it."""
  if encoder.reads != "image":
    return {"voxels": solid.grid, "points": solid.cloud}[encoder.reads](path, encoder.shape[0])
  try:
    return decode.decode(pathlib.Path(path).read_bytes())
  except OSError as e:
    raise errors.UsageError(f"cannot read {path}: {e.strerror or e}") from e
  except ValueError as e:
    raise errors.RunError(f"{path} is no image that can be read: {errors.first_line(e)}") from e


def embeddings(encoder, source):
  """The features [N, D] of a Source."""
  return np.concatenate([evaluate.embed(encoder, part[source.key]) for part in datasets.parts(source, frozen.IMAGES)])


def stored(path, encoder, source):
  """The features [N, D] in a file of `sslx embed`, checked to be this encoder's of this Source.

  By SAMPLE of them, and by the digests in the file, if there are any.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      bank = np.asarray(file["embeddings"], np.float32)
      said = [str(file[k]) for k in ("encoder", "data") if k in file]
  except FileNotFoundError:
    raise errors.UsageError(f"there is no {path}: `sslx embed --workdir DIR --split SPLIT --out {path}` writes it"
                            ) from None
  except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as e:   # or a lone .npy
    raise errors.UsageError(f"{path} is not what `sslx embed` writes: {errors.first_line(e)}") from e
  some = np.unique(np.linspace(0, len(source) - 1, SAMPLE).astype(int))
  wanted = evaluate.embed(encoder, source.batch(some)[source.key])
  if bank.shape != (len(source), wanted.shape[1]):
    raise errors.UsageError(f"{path} holds embeddings {list(bank.shape)}; these data and this encoder need "
                            f"{[len(source), wanted.shape[1]]}: give the --data and --split that it is of")
  if not np.isfinite(bank).all():
    raise errors.UsageError(f"{path} holds embeddings that are not finite: write it again with `sslx embed`")
  same = np.allclose(bank[some], wanted, rtol=0.01, atol=0.01 * np.abs(wanted).max())
  if not same or said not in ([], [checkpoint.digest(encoder.variables), source.fingerprint]):
    raise errors.UsageError(f"{path} holds embeddings of another encoder, or of other images: write it again with "
                            "`sslx embed`, or give the --data and --split that it is of")
  return bank


def caption(source, row):
  """The class of an image and its file, or its position."""
  label = None if source.labels is None else int(source.labels[row])
  names = source.class_names or ()
  where = f"{row}" if source.paths is None else os.path.basename(source.paths[row])
  return where if label is None else f"{names[label] if 0 <= label < len(names) else label} \u00b7 {where}"
