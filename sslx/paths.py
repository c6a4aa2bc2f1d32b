"""Where runs and data lie: on this machine or in a bucket.

A workdir may be on gs://, which Orbax writes and etils' epath reads; data may lie wherever fsspec can fetch them from.
"""

import hashlib
import importlib.util
import os
import pathlib
import shutil
import tempfile

from sslx import errors

EXTRAS = {  # scheme: what fsspec needs for it, and our extra
    "gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3"), "http": ("aiohttp", "http"), "https": ("aiohttp", "http")}


def remote(where):
  """Whether this is a URL, of a bucket or else, and no path of this machine."""
  return "://" in str(where)


def absolute(where):
  """The whole path of this machine, so that it is found from any folder; a URL as it is."""
  return str(where).rstrip("/") if remote(where) else os.path.abspath(os.path.expanduser(where))


def path(where):
  """The pathlib.Path of a run's file or folder, or, on gs://, what etils has in its place."""
  if not remote(where):
    return pathlib.Path(where)
  if not str(where).startswith("gs://"):
    raise errors.UsageError(f"a run cannot be in {where}: Orbax writes to gs:// and to file systems; mount the bucket "
                            "(Mountpoint for S3) and give the path of the mount")
  needs(str(where))
  from etils import epath
  return epath.Path(str(where).rstrip("/"))


def needs(url):
  """errors.UsageError where what fsspec needs for this URL is not installed."""
  module, extra = EXTRAS.get(url.partition("://")[0], (None, None))
  if module and not importlib.util.find_spec(module):
    raise errors.UsageError(f"{url} needs {module}: pip install 'sslx[{extra}]'")


def fetched(url, cache, say=lambda line: None):
  """The path of a copy in the folder `cache` of the file or folder at `url`; it is made anew where the original, by
  names, sizes and times, has changed. A folder of a web server cannot be listed: there it is one file.

  say: called with a line before something is fetched.
  """
  needs(url)
  plain = shown(url)
  import fsspec
  try:
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    web = url.startswith("http")
    found = {root: files.info(root)} if web else files.find(root, detail=True)
    times = ("etag", "ETag", "mtime", "updated", "created", "Last-Modified")
    stamp = lambda d: next((d[k] for k in times if k in d), "")
    mark = "\n".join([url, *(f"{k} {d.get('size')} {stamp(d)}" for k, d in sorted(found.items()))])
    name = hashlib.blake2b(mark.encode(), digest_size=8).hexdigest()
    target = pathlib.Path(cache) / name / os.path.basename(root.partition("?")[0].rstrip("/"))
    if not found:
      raise errors.UsageError(f"there is nothing at {plain}")
    if not target.exists():
      size = sum(d.get("size") or 0 for d in found.values()) / 2**20
      say(f"fetching {len(found)} file{'s' * (len(found) > 1)}, {size:.0f} MB, from {plain}")
      pathlib.Path(cache).mkdir(parents=True, exist_ok=True)
      part = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=cache))
      try:
        if web or not files.isdir(root):
          files.get_file(root, str(part / target.name))
        else:
          files.get(root, str(part / target.name), recursive=True)
        part.chmod(0o755)
        os.rename(part, target.parent)
      except OSError:
        if not target.exists():                              # unless another process was faster
          raise
      finally:
        shutil.rmtree(part, ignore_errors=True)
  except errors.UsageError:
    raise
  except Exception as e:  # each file system has errors of its own
    raise errors.RunError(f"cannot fetch {plain}: {type(e).__name__}: "
                          f"{errors.first_line(e).replace(url, plain)}") from e
  return target


def shown(url):
  """A URL without what may be secret in it: a user's name and password, a signature."""
  scheme, rest = url.split("://", 1)
  host, slash, way = rest.partition("?")[0].partition("/")
  return f"{scheme}://{host.rpartition('@')[2]}{slash}{way}" + ("?..." if "?" in url else "")


def here(where, what):
  """`where`, or errors.UsageError where it is no path of this machine."""
  if remote(where):
    raise errors.UsageError(f"{what} cannot be {shown(str(where))}: give a path of this machine")
  return where
