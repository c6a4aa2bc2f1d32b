"""Videos as clips of a few frames: folders of frames, arrays, video files.

  PATH/{train,test}/CLASS/VIDEO      labelled; without train/ and test/ every fifth video is held out
  PATH/{train,test}/VIDEO, PATH      unlabelled; PATH may be a single VIDEO, of which the last fifth is held out

A VIDEO is a folder of frames, which are read in the order of the numbers in their names; a .npy array [T, H, W, C]; or
a file that PyAV decodes, such as .mp4, of which every displayed frame counts.
"""

import dataclasses
import functools
import os
import pathlib
import re

import numpy as np

from sslx import errors
from sslx.data import decode, source
from sslx.data.folder import PARTS

FILES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".ts"))
LENGTH = 16                  # frames of a clip, where videos are not shorter
GAP = 10                     # frames between the training and the held-out part of a single video
KEPT = 2**30                 # bytes of frames that are decoded once and kept


@dataclasses.dataclass(frozen=True)
class Video:
  """Frames [first, first + count) of a video; at: the files of a folder, or the times of a file's frames."""
  path: str
  label: str | None
  first: int
  count: int
  at: tuple = ()


def load(path, split, *, size=0, fit="crop", length=0, rate=0):
  """The Source of clips {"video": [T, H, W, C]} of one split, as images are: uint8, or what the frames are.

  Args:
    size, fit: as of images; see decode.resize.
    length: T, frames of a clip; 0 for 16, or as many as the shortest of several videos has.
    rate: every rate-th frame counts; 0 for all.

  Of several videos clips lie side by side, one at least: a shorter video's last frame is repeated. Of a single one a
  clip starts at every frame of its part. Raises errors.UsageError for what is no such folder or file, frames of several
  shapes, a single video that is too short; errors.RunError for corrupt files.
  """
  if length < 0 or rate < 0 or length != int(length) or rate != int(rate):
    raise errors.UsageError(f"data.length is {length:g} and data.rate {rate:g}: give whole numbers of frames, or 0")
  rate, (videos, single) = int(rate) or 1, _split(path, split)
  length = int(length) or min(LENGTH, *(LENGTH if single else -(-v.count // rate) for v in videos))
  span = (length - 1) * rate + 1
  if single and videos[0].count < span:
    raise errors.UsageError(f"{path}: the {split} part of its frames, {videos[0].count}, is shorter than a clip of "
                            f"{length} at every {rate}: set data.length or data.rate")
  step = 1 if single else length * rate
  clips = [(i, start) for i, v in enumerate(videos) for start in range(0, max(v.count - span, 0) + 1, step)]
  shape, dtype = _same([_frames(v, [0], size, fit)[0] for v in videos], videos)
  in_memory = sum(v.count for v in videos) * int(np.prod(shape)) * dtype.itemsize <= KEPT
  kept = [_frames(v, range(v.count), size, fit) for v in videos] if in_memory else None
  names = tuple(sorted({v.label for v in videos})) if videos[0].label is not None else None
  labels = names and np.array([names.index(videos[i].label) for i, _ in clips], np.int32)
  mark = source.digest(*(f"{os.path.relpath(v.path, path)} {v.first} {v.count} {_bytes(v)}".encode() for v in videos),
                       f"{length} {rate} {size} {fit}".encode())
  return source.Source(
      f"video:{path}", functools.partial(_read, videos, kept, clips, length, rate, size, fit), np.arange(len(clips)),
      (length, *shape), str(dtype), labels, names, [videos[i].path for i, _ in clips], mark, in_memory=in_memory,
      key="video")


def ranges(count):
  """{part: (first, end)} of the frames of a single video: the last fifth is held out, GAP before it are in neither."""
  end = count - round(count / 5)
  return {"train": (0, max(end - GAP, 0)), "test": (end, count)}


def _split(path, split):
  """(the videos of one split, whether they are parts of a single one)."""
  root = pathlib.Path(path)
  if not root.exists():
    raise errors.UsageError(f"no such folder or file: {path}")
  if (whole := _video(root)) is not None:
    first, end = ranges(whole.count)["train" if split == "train" else "test"]
    return [dataclasses.replace(whole, first=first, count=end - first)], True
  if not root.is_dir():
    raise errors.UsageError(f"{path} is neither a folder nor a video that is known: .npy, {', '.join(sorted(FILES))}")
  parts = {PARTS[d.name.lower()]: d for d in sorted(root.iterdir()) if d.is_dir() and d.name.lower() in PARTS}
  held = next((parts[p] for p in (split, "test", "validation") if p in parts and p != "train"), None)
  if "train" in parts and held:
    return _below(parts["train"] if split == "train" else held), False
  videos = _below(root)
  classes = None if videos[0].label is None else np.unique([v.label for v in videos], return_inverse=True)[1]
  rows = source.split(len(videos), classes)[split != "train"]
  if not len(rows):
    raise errors.UsageError(f"{path} has one video in a folder: name the video itself, and its last fifth is held out")
  return [videos[i] for i in rows], False


def _below(folder):
  """The videos of a folder of videos, or of class folders of videos."""
  entries = [p for p in sorted(folder.iterdir(), key=_order) if not p.name.startswith(".")]
  videos = [v for v in map(_video, entries) if v]
  if not videos:
    videos = [dataclasses.replace(v, label=d.name) for d in entries if d.is_dir()
              for v in map(_video, sorted(d.iterdir(), key=_order)) if v]
  if not videos:
    raise errors.UsageError(f"{folder} has no videos: a folder of frames, a .npy array or a video file each, in class "
                            "folders or not")
  return videos


def _video(path):
  """The Video at a path, all of it, or None if it is none."""
  if path.is_dir():
    files = [p for p in path.iterdir() if p.suffix.lower() in decode.EXTENSIONS - {".npy"} and p.name[0] != "."]
    files = tuple(str(p) for p in sorted(files, key=_order))
    return Video(str(path), None, 0, len(files), files) if files else None
  if path.suffix.lower() == ".npy":
    return Video(str(path), None, 0, len(_array(path)))
  if path.suffix.lower() in FILES:
    times = _times(path)
    return Video(str(path), None, 0, len(times), times)
  return None


def _order(path):
  """A key that sorts by the numbers in a name: frame2 before frame10."""
  return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _bytes(video):
  return os.path.getsize(video.at[video.first] if os.path.isdir(video.path) else video.path)


def _read(videos, kept, clips, length, rate, size, fit, rows):
  """The clips of some rows; past its last frame a video stands still."""
  out = []
  for i, start in (clips[int(r)] for r in rows):
    index = np.minimum(start + rate * np.arange(length), videos[i].count - 1)
    if kept:
      out.append(kept[i][index])
    else:
      frames, places = np.unique(index, return_inverse=True)
      out.append(_frames(videos[i], frames, size, fit)[places])
  _same([x[0] for x in out], [videos[clips[int(r)][0]] for r in rows])
  return {"video": np.stack(out)}


def _same(frames, videos):
  """(shape, dtype) of frames, one of each of the videos; UsageError where they are not alike."""
  seen = [(x.shape, x.dtype) for x in frames]
  if (apart := next((i for i, s in enumerate(seen) if s != seen[0]), None)) is not None:
    (a, b), (x, y) = (seen[0], seen[apart]), (videos[0].path, videos[apart].path)
    raise errors.UsageError(f"frames are not alike: {list(a[0])} {a[1]} in {x}, {list(b[0])} {b[1]} in {y}: set "
                            "data.size, and keep grey and colour apart")
  return seen[0]


def _frames(video, index, size, fit):
  """Frames [n, H, W, C] of a Video by rising positions, decoded and resized."""
  index = [video.first + int(i) for i in index]
  try:
    if os.path.isdir(video.path):
      one = lambda files: [decode.decode(pathlib.Path(f).read_bytes(), size=size, fit=fit) for f in files]
      found = decode.parallel(one, [video.at[i] for i in index], sum(os.path.getsize(video.at[i]) for i in index))
    else:
      found = _array(video.path)[index] if video.path.endswith(".npy") else _decoded(video, index)
      found = [decode.checked(np.asarray(x)) for x in found]
      found = [decode.resize(x, size, fit) if size else x for x in found]
  except (ValueError, OSError) as e:
    raise errors.RunError(f"the video {video.path} is corrupt: {errors.first_line(e)}") from e
  _same(found, [video] * len(found))
  return np.stack(found)


def _array(path):
  """A .npy array [T, H, W, C], not yet read."""
  try:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
  except (ValueError, OSError, EOFError) as e:
    raise errors.RunError(f"{path} is not a whole .npy array: {errors.first_line(e)}") from e
  if found.ndim != 4:
    raise errors.UsageError(f"{path} has the shape {list(found.shape)}: a video is [T, H, W, C]")
  return found


def _av():
  try:
    import av
  except ModuleNotFoundError as e:
    raise errors.UsageError("video files are decoded by PyAV: pip install 'sslx[video]'") from e
  return av


def _times(path):
  """The times of a file's frames, in order, without decoding them."""
  av = _av()
  try:
    with av.open(str(path)) as file:
      times = tuple(sorted({p.pts for p in file.demux(video=0) if p.pts is not None}))
  except (av.error.FFmpegError, IndexError) as e:
    raise errors.RunError(f"the video {path} is corrupt: {errors.first_line(e)}") from e
  if not times:
    raise errors.RunError(f"the video {path} has no frames with a time")
  return times


def _decoded(video, index):
  """RGB frames at rising positions, from the last key frame before them; from the beginning where that fails."""
  av = _av()
  wanted = {video.at[i] for i in index}
  for start in (min(wanted), None):
    found = {}
    try:
      with av.open(video.path) as file:
        stream = file.streams.video[0]
        if start is not None:
          file.seek(start, stream=stream)
        for frame in file.decode(stream):
          if frame.pts in wanted:
            found[frame.pts] = frame.to_ndarray(format="rgb24")
          if len(found) == len(wanted):
            return [found[video.at[i]] for i in index]
    except av.error.FFmpegError as e:
      fault = e
      continue
    fault = f"{len(wanted) - len(found)} of its frames do not decode"
  raise ValueError(str(fault))
