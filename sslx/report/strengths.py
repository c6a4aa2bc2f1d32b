"""The strengths at which the gallery shows each operation.

A table for images of h x w pixels: an operation's name -> a list of its arguments, one a column; or the name of an
argument, which may say whose it is ("adjust_sharpness.factor") -> its values. Another operation with an argument of
that name needs no entry; "std range" is a std that is by default a pair.
"""

import dataclasses
import inspect

import numpy as np


@dataclasses.dataclass(frozen=True)
class Named:
  """A value too long to be written out, and the words for it."""
  words: str
  value: object


class UnknownError(ValueError):
  """A required argument of which no values are known."""


def table(h, w):
  """{operation, argument or "operation.argument": see above}."""
  side = min(h, w)
  unit = max(0.5, side / 96)                               # so that blurs look alike at all sizes
  share = lambda s: max(1, round(s * side))
  sizes = lambda *shares: [(max(1, round(s * h)), max(1, round(s * w))) for s in shares]
  box = lambda top, left, height, width: (round(top * h), round(left * w), round(height * h), round(width * w))
  boxes = [box(0, 0, 0.5, 0.5), box(0.25, 0.25, 0.5, 0.5), box(0.5, 0, 0.5, 1), box(0.1, 0.3, 0.3, 0.6)]
  return {
      "factor": [0.0, 0.5, 1.5, 2.0], "adjust_sharpness.factor": [0.0, 2.0, 4.0, 8.0],
      "random_sharpness.factor": [0.0, 2.0, 4.0, 8.0], "delta": [-0.25, -0.1, 0.1, 0.25], "strength": [0.2, 0.4, 0.8],
      "max_delta": [0.05, 0.1, 0.25, 0.5], "weight": [0.8, 0.6, 0.4, 0.2], "alpha": [0.2, 1.0, 5.0],
      "sigma": [unit * s for s in (0.5, 1, 2, 4)], "kernel_size": [2 * min(side - 1, round(12 * unit)) + 1],
      "sigma range": [(unit * s, 2 * unit * s) for s in (0.25, 0.5, 1, 2)],
      "threshold": [0.0, 0.25, 0.5, 0.75], "bits": [1, 2, 3, 4], "std": [0.02, 0.05, 0.1, 0.2],
      "std range": [(0.0, s) for s in (0.1, 0.2, 0.4)], "amount": [0.01, 0.05, 0.1, 0.3],
      "amount range": [(0.0, s) for s in (0.05, 0.1, 0.3)], "angle": [-30.0, 15.0, 45.0, 90.0], "k": [1, 2, 3],
      "degrees": [10.0, 30.0, 90.0, 180.0], "padding": [share(s) for s in (1 / 16, 1 / 8, 1 / 4, 1 / 2)],
      "side": [0.25, 0.5, 0.75], "box": boxes, "center_crop.size": sizes(0.75, 0.5, 0.25, 1.25),
      "size": sizes(0.5, 0.25, 0.125), "distortion": [0.2, 0.4, 0.6, 0.8],
      "start": [Named("corners", np.array(corners(h, w)))],
      "end": [Named(name, np.array(corners(h, w, *moves))) for name, *moves in (
          ("from the left", (0, 0), (-0.2, 0.2), (-0.2, -0.2), (0, 0)),
          ("from below", (0.2, 0.2), (-0.2, 0.2), (0, 0), (0, 0)), ("pinched", (0.3, 0.3), (0, 0), (0, 0), (0, 0)))],
      "displacement": [Named(f"waves of {n:.2g} px", waves(h, w, n)) for n in (0.02 * side, 0.04 * side, 0.08 * side)],
      "affine": [{"angle": 20.0}, {"angle": 0.0, "translate": (float(share(0.2)), 0.0)}, {"angle": 0.0, "scale": 0.6},
                 {"angle": 0.0, "shear": (25.0, 0.0)}],
      "random_affine": [{"degrees": d, "translate": t, "scale": (1 - t, 1 + t), "shear": d}
                        for d, t in ((5.0, 0.05), (10.0, 0.1), (20.0, 0.2), (40.0, 0.3))],
      "color_jitter": [{"brightness": s, "contrast": s, "saturation": s, "hue": s / 4} for s in (0.2, 0.4, 0.8)],
      "normalize": [{"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, {"mean": (0.5,), "std": (0.25,)}],
      "resize": [{"size": s, "method": m} for m in ("bilinear", "nearest") for s in sizes(0.5, 0.25)],
      "crop_resize": [{"box": box(0.25, 0.25, 0.5, 0.5), "size": (h, w), "method": m}
                      for m in ("bilinear", "bicubic", "nearest")] + [{"box": box(0, 0, 1, 0.5), "size": (h, w)}],
      "random_resized_crop": [{"scale": s} for s in ((0.5, 1.0), (0.2, 0.5), (0.08, 0.2))]
                             + [{"scale": (0.08, 1.0), "ratio": (0.3, 3.3)}],
      "pad_and_crop": [{"top": 0, "left": 0, "padding": share(0.2), "mode": m}
                       for m in ("constant", "edge", "reflect")],
      "random_erase": [{"scale": s} for s in ((0.02, 0.1), (0.1, 0.33), (0.3, 0.6))]
                      + [{"scale": (0.1, 0.33), "value": None}],
      "random_elastic": [{"alpha": round(a * side, 1), "sigma": max(0.05 * side, 1.0)} for a in (0.3, 0.6, 1.0, 1.6)],
      "count": [max(1, round(s * h * w)) for s in (0.25, 0.5, 0.75, 0.9)], "targets": [1, 2, 3, 4]}


def corners(h, w, *moves):
  """Four corners (x, y), clockwise from the top left, moved by shares of the sides."""
  moves = moves or ((0, 0),) * 4
  return [((x + dx) * w, (y + dy) * h)
          for (x, y), (dx, dy) in zip(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), moves, strict=True)]


def waves(h, w, amount):
  """A displacement [h, w, 2] of one wave in each direction."""
  y, x = np.mgrid[:h, :w] * 2 * np.pi / np.array([h, w]).reshape(2, 1, 1)
  return amount * np.stack([np.sin(y), np.sin(x)], -1).astype(np.float32)


def of(name, function, given, h, w):
  """[{argument: value}], one a column, and the names of those that differ; [{}] where there is nothing to vary.

  given: names of the arguments that are no strengths, such as key and image. A random operation's p becomes 1 where
  something else varies. Raises UnknownError.
  """
  known = table(h, w)
  parameters = {k: v for k, v in inspect.signature(function).parameters.items()
                if k not in given and v.kind not in (v.VAR_POSITIONAL, v.VAR_KEYWORD)}
  def values(p):
    kind = p.name + (" range" if isinstance(p.default, tuple) else "")
    return known.get(f"{name}.{kind}", known.get(kind))
  required = {k: values(p) for k, p in parameters.items() if p.default is p.empty}
  if name in known:
    columns = known[name]
  else:
    missing = [k for k, v in required.items() if v is None]
    if missing:
      raise UnknownError(f"no values are known of its argument {' and '.join(missing)}")
    chosen = required
    if all(len(v) == 1 for v in required.values()):
      extra = next(((k, v) for k, p in parameters.items() if k not in required and (v := values(p))), None)
      chosen = required | dict([extra] if extra else [])
    number = max(map(len, chosen.values()), default=1)
    columns = [{k: v[i % len(v)] for k, v in chosen.items()} for i in range(number)]
  text = lambda column: {k: words(v) for k, v in column.items()}
  keys = list(dict.fromkeys(k for c in columns for k in c))
  vary = [k for k in keys if len({text(c).get(k) for c in columns}) > 1]
  p = parameters.get("p")
  if vary and p is not None and isinstance(p.default, float) and p.default < 1:
    columns = [{"p": 1.0, **c} for c in columns]
  return columns, vary


def words(value):
  """A strength as a person writes it."""
  if isinstance(value, Named):
    return value.words
  if isinstance(value, tuple):
    return f"({', '.join(map(words, value))}{',' if len(value) == 1 else ''})"
  return f"{value:.3g}" if isinstance(value, float) else str(value)


def plain(column):
  """The arguments themselves."""
  return {k: v.value if isinstance(v, Named) else v for k, v in column.items()}
