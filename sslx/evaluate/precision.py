"""Average precision of boxes by COCO's rules, which pycocotools keeps."""

import contextlib
import io

from sslx import errors


def precision(found, truth, classes):
  """{"ap", "ap50", "classes": {number: AP50}} of the boxes found in images against the true ones.

  AP is the mean over overlaps from 0.5 to 0.95, then over classes; a class without true boxes does not count.

  Args:
    found: an image each: (boxes [D, 4] as corners, scores [D], classes [D]); a score of 0 is no box.
    truth: an image each: (boxes [M, 4], classes [M]); a class of -1 is no box.
    classes: how many there are.
  """
  try:
    from pycocotools import coco, cocoeval
  except ImportError:
    raise errors.UsageError("average precision needs pycocotools: pip install 'sslx[detect]'") from None

  def mark(image, corners, kind, **more):
    left, top, right, bottom = map(float, corners)
    return {"image_id": image, "category_id": int(kind), "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top), "iscrowd": 0, **more}
  true = [mark(i, x, c) for i, (corners, kinds) in enumerate(truth) for x, c in zip(corners, kinds, strict=True)
          if c >= 0]
  guesses = [mark(i, x, c, score=float(s)) for i, part in enumerate(found) for x, s, c in zip(*part, strict=True)
             if s > 0]
  there = sorted({m["category_id"] for m in true})
  if not guesses or not true:
    return {"ap": 0.0, "ap50": 0.0, "classes": dict.fromkeys(there, 0.0)}
  with contextlib.redirect_stdout(io.StringIO()):
    known = coco.COCO()
    known.dataset = {"images": [{"id": i} for i in range(len(truth))],
                     "categories": [{"id": c} for c in range(classes)],
                     "annotations": [m | {"id": n + 1} for n, m in enumerate(true)]}
    known.createIndex()
    judge = cocoeval.COCOeval(known, known.loadRes(guesses), "bbox")
    judge.evaluate()
    judge.accumulate()
  table = judge.eval["precision"][:, :, there, 0, -1]        # [overlaps, recalls, classes], of any area, 100 an image
  return {"ap": float(table.mean()), "ap50": float(table[0].mean()),
          "classes": {c: float(table[0, :, n].mean()) for n, c in enumerate(there)}}
