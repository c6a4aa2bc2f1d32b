"""Is anything lost with the forms that CPUs get? The same runs with them and with XLA's own, loss by loss.

  python experiments/bench/plain.py                         # a few minutes; another seed for scale

Wherever a layer or a view has a form of its own for CPUs it asks jax.lax.platform_dependent; without, that takes the
default; layers.Dense has its own gradient. configs/METHOD.py:digits. The results go to
experiments/results/plain.{json,md,png}.
"""

import argparse
import json
import tempfile

import turns

RESULTS = turns.HERE.parents[1] / "experiments/results/plain.json"
METHODS, STEPS = {"simclr": "SimCLR, ResNet-18", "mae": "MAE, ViT"}, 200
FORMS = {"fast": (True, 0), "plain": (False, 0), "fast, another seed": (True, 1)}


def measure(method, form):
  """{"curve": the loss of each step, "knn": held-out accuracy of the frozen encoder}."""
  import jax

  from sslx import config, data, evaluate, train
  from sslx.encoders import layers
  fast, seed = FORMS[form]
  if not fast:
    jax.lax.platform_dependent = lambda *args, default, **forms: default(*args)
    layers.product = jax.numpy.matmul
  c = config.override(config.load(f"{turns.HERE.parents[1]}/configs/{method}.py:digits"), [
      f"--config.total_steps={STEPS}", f"--config.seed={seed}", "--config.log.every=1", "--config.checkpoint.every=0"])
  curve = []
  with tempfile.TemporaryDirectory() as workdir:
    encoder = train.train(c, workdir, log=lambda r: curve.append(r["loss"]))
  (x, y, _), (test_x, test_y, _) = (data.arrays(data.load("digits", split=s)) for s in ("train", "test"))
  return {"curve": curve, "knn": evaluate.knn(evaluate.embed(encoder, x), y, evaluate.embed(encoder, test_x), test_y)}


def page(found):
  """The results as Markdown."""
  import numpy as np
  lines = ["# Nothing is lost with the forms that CPUs get", "", "`python experiments/bench/plain.py`", "",
           f"configs/METHOD.py:digits, {STEPS} steps in float32, with the layers and views in the forms that CPUs get,",
           "with XLA's own, and with another seed, which is what chance does. Difference: of the loss, relative, the",
           "mean of steps; rounding grows as training goes on, with batch norm within a few steps. kNN on 360 held-out",
           "images has a sampling deviation of 0.7 points.", "",
           "| run | first three, plain | other seed | last ten, plain | other seed | kNN, fast | plain | other seed |",
           "|" + "---|" * 8]
  for method, name in METHODS.items():
    if method in found:
      forms = {k: np.array(v["curve"]) for k, v in found[method].items()}
      apart = lambda other, part, forms=forms: np.mean(np.abs(forms[other][part] / forms["fast"][part] - 1))
      cells = [f"{apart(o, part):.1e}" for part in (slice(3), slice(-10, None)) for o in list(FORMS)[1:]]
      cells += [f"{100 * found[method][f]['knn']:.1f}" for f in FORMS]
      lines.append(f"| {name} | {' | '.join(cells)} |")
  return "\n".join([*lines, "", "![](plain.png)"]) + "\n"


def picture(found):
  import matplotlib
  matplotlib.use("agg")
  from matplotlib import pyplot as plt
  fig, axes = plt.subplots(1, len(found), figsize=(4 * len(found), 3), layout="constrained", squeeze=False)
  for ax, (method, forms) in zip(axes[0], found.items(), strict=True):
    for style, (form, values) in zip(("-", "--", ":"), forms.items(), strict=True):
      ax.plot(values["curve"], style, label=form)
    ax.set_title(METHODS[method])
    ax.set_xlabel("step")
  axes[0, 0].set_ylabel("loss")
  axes[0, 0].legend()
  fig.savefig(RESULTS.with_suffix(".png"), dpi=100)
  plt.close(fig)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.one:
    print(json.dumps(measure(*args.one)))
    return
  found = {}
  for method in METHODS:
    found[method] = {form: turns.by_itself(__file__, turns.environment("pretrain"), method, form) for form in FORMS}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
  RESULTS.with_suffix(".md").write_text(page(found))
  picture(found)
  print(page(found))


if __name__ == "__main__":
  main()
