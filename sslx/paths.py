"""Where runs and data lie: on this machine or in a bucket.

A workdir may be on gs://, which Orbax writes and etils' epath reads; data may lie wherever fsspec can fetch them from.
"""

import hashlib
import importlib.util
import os
import pathlib
import shutil

from sslx import errors

EXTRAS = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}      # scheme: what fsspec needs for it, and our extra


def remote(where):
  """Whether this is a URL, of a bucket or else, and no path of this machine."""
  return "://" in str(where)


def absolute(where):
  """The whole path of this machine, so that it is found from any folder; a URL as it is."""
  return str(where) if remote(where) else os.path.abspath(os.path.expanduser(where))


def path(where):
  """The pathlib.Path of a run's file or folder, or, on gs://, what etils has in its place."""
  if not remote(where):
    return pathlib.Path(where)
  if not str(where).startswith("gs://"):
    raise errors.UsageError(f"a run cannot be in {where}: Orbax writes to gs:// and to file systems; mount the bucket "
                            "(Mountpoint for S3) and give the path of the mount")
  needs(str(where))
  from etils import epath
  return epath.Path(where)


def needs(url):
  """errors.UsageError where what fsspec needs for this URL is not installed."""
  module, extra = EXTRAS.get(url.partition("://")[0], (None, None))
  if module and not importlib.util.find_spec(module):
    raise errors.UsageError(f"{url} needs {module}: pip install 'sslx[{extra}]'")


def fetched(url, cache, say=lambda line: None):
  """The path of a copy in the folder `cache` of the file or folder at `url`; it is made anew where the original, by
  names, sizes and times, has changed. say: called with a line before something is fetched.
  """
  needs(url)
  import fsspec

  try:
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    found = files.find(root, detail=True)
    stamp = lambda d: next((d[k] for k in ("etag", "ETag", "mtime", "updated", "created") if k in d), "")
    mark = "\n".join([url, *(f"{k} {d['size']} {stamp(d)}" for k, d in sorted(found.items()))])
    name = hashlib.blake2b(mark.encode(), digest_size=8).hexdigest()
    target = pathlib.Path(cache) / name / os.path.basename(root.rstrip("/"))
    if not found:
      raise errors.UsageError(f"there is nothing at {url}")
    if not target.exists():
      say(f"fetching {len(found)} files, {sum(d['size'] or 0 for d in found.values()) / 2**20:.0f} MB, from {url}")
      part = target.parent.with_name(f".{target.parent.name}.{os.getpid()}.part")
      part.mkdir(parents=True)
      try:
        files.get(root, str(part / target.name), recursive=files.isdir(root))
        os.rename(part, target.parent)
      except OSError:
        if not target.exists():                              # unless another process was faster
          raise
      finally:
        shutil.rmtree(part, ignore_errors=True)
  except errors.UsageError:
    raise
  except Exception as e:  # each file system has errors of its own
    raise errors.RunError(f"cannot fetch {url}: {type(e).__name__}: {errors.first_line(e)}") from e
  return target
