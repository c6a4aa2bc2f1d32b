"""Encoders of PyTorch's libraries read by sslx: the same features, and bit for bit the same tensors out again.

  make bench-peers                                     # once: an environment with PyTorch, for the peers alone
  pip install -e '.[torch]'                            # this side reads their .pth and .ckpt files
  python experiments/interop.py                        # about 10 minutes on 2 cores
  python experiments/interop.py --cases 'ResNet-50, timm'

Every case makes a model with random weights by the library's own class, saves it as that library does, and computes its
features of four photos (scikit-learn's, cut to pieces) with PyTorch on CPU in float32. `sslx import` reads the file;
features and the last map, train=False, are compared. `sslx export` writes it again, and a fresh model loads that with
load_state_dict(strict=True). The results go to experiments/results/interop.{json,md}.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import jax
import numpy as np

import sslx
from sslx import checkpoint

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "interop.json"
PEER = HERE / "peers" / "weights_torch.py"


def photos(number=4, side=224):
  """Bytes [number, side, side, 3]: pieces of scikit-learn's photos."""
  from sklearn import datasets
  rng, pictures = np.random.default_rng(0), datasets.load_sample_images().images
  out = []
  for i in range(number):
    picture = pictures[i % len(pictures)]
    top, left = (rng.integers(0, n - side) for n in picture.shape[:2])
    out.append(picture[top:top + side, left:left + side])
  return np.stack(out)


def run(case, python, folder):
  """One case: what was compared, and how far apart it is."""
  folder.mkdir()
  np.save(folder / "images.npy", photos())
  peer = lambda *a: subprocess.run([python, str(PEER), *a, "--case", case, "--images", str(folder / "images.npy"),
                                    "--folder", str(folder)], check=True, capture_output=True, text=True).stdout
  peer("make")
  c = checkpoint.read_json(folder / "case.json")
  encoder = sslx.import_weights(folder / c["file"], folder / "run", source=c["source"], encoder=c["encoder"],
                                size=c["size"])
  images = np.load(folder / "images.npy")[:, :c["size"], :c["size"]].astype(np.float32) / 255
  forward = jax.jit(lambda v, x: encoder.module.apply(v, x, train=False, method="features"))
  ours, theirs = forward(encoder.variables, images), np.load(folder / "features.npz")
  row = {"case": case, "source": c["source"], "encoder": c["encoder"], "size": c["size"],
         "keys": encoder.spec["source"]["keys"], "layout": encoder.spec["source"]["layout"], "versions": c["versions"]}
  for name in ("pooled", "grid"):
    assert ours[name].shape == theirs[name].shape, f"{case}: {name} is {ours[name].shape}, not {theirs[name].shape}"
    row[name] = float(np.abs(np.asarray(ours[name]) - theirs[name]).max())
    row[f"{name}_largest"] = float(np.abs(theirs[name]).max())
  if c["to"]:
    sslx.export_weights(folder / "run", c["to"], folder / "out.safetensors")
    row |= {"to": c["to"], **json.loads(peer("check", "--file", str(folder / "out.safetensors")))}
  return row


def table(rows):
  """The results as Markdown."""
  v = rows[0]["versions"]
  lines = ["# Weights in and out", "", "`python experiments/interop.py`: random weights by PyTorch's own classes; the",
           "largest difference of a feature and of a number in the last map between PyTorch and sslx, float32 on CPU,",
           "four photos; then exported, loaded strictly into a fresh model, and compared bit by bit.",
           f"torch {v['torch']}, timm {v['timm']}, torchvision {v['torchvision']}.", "",
           "| encoder, file | read | pooled differs by | of at most | map differs by | of at most | out again | "
           "tensors | identical |", "|" + "---|" * 9]
  for r in rows:
    lines.append(f"| {r['case']} | {r['keys']} keys | **{r['pooled']:.1e}** | {r['pooled_largest']:.1f} | "
                 f"**{r['grid']:.1e}** | {r['grid_largest']:.1f} | "
                 + (f"{r['to']}, strict | {r['tensors']} | {'all' if r['identical'] else ', '.join(r['differ'])} |"
                    if "to" in r else "| | |"))
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--python", default=str(HERE.parent / ".venv-peers/bin/python"), help="of the peers' environment")
  p.add_argument("--cases", nargs="+", help="some of them (default: all); `weights_torch.py list` names them")
  args = p.parse_args()
  names = json.loads(subprocess.run([args.python, str(PEER), "list"], check=True, capture_output=True,
                                    text=True).stdout)
  if not args.cases:
    RESULTS.unlink(missing_ok=True)
  for case in args.cases or names:
    with tempfile.TemporaryDirectory() as folder:
      row = run(case, args.python, pathlib.Path(folder) / "case")
    print(json.dumps({k: v for k, v in row.items() if k != "versions"}), flush=True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    found = [r for r in found if r["case"] != case] + [row]
    checkpoint.write_json(RESULTS, sorted(found, key=lambda r: names.index(r["case"])))
  found = json.loads(RESULTS.read_text())
  checkpoint.write_text(RESULTS.with_suffix(".md"), table(found))


if __name__ == "__main__":
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  main()
