"""Charts: pure functions from arrays to {"light", "dark": PNG data URIs, "width", "height" in CSS pixels}."""

import base64
import io

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from PIL import Image

CONTENDERS = {"encoder": "Encoder", "random": "Random initialisation", "raw": "Raw data"}
MARKERS = {"encoder": "o", "random": "s", "raw": "^"}
PALETTES = {  # the contenders' colours are also in report.html.jinja
    "light": {"ink": "#1c2430", "muted": "#5b6673", "grid": "#e3e7ec", "face": "#ffffff",
              "encoder": "#0072b2", "random": "#d55e00", "raw": "#767f8a"},
    "dark": {"ink": "#e6e9ee", "muted": "#a2acb8", "grid": "#333b45", "face": "#1b2027",
             "encoder": "#56b4e9", "random": "#f0904d", "raw": "#a9b1bb"}}
DENSITY = 2                                                # pixels of the PNG a CSS pixel


def chart(draw, width=352, height=224):
  """draw(axes, palette) once for each palette, on a transparent ground."""
  out = {"width": width, "height": height}
  for name, colors in PALETTES.items():
    figure = Figure(figsize=(width / 100, height / 100), dpi=100 * DENSITY, facecolor="none", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor="none")
    for side, spine in axes.spines.items():
      spine.set_visible(side in ("left", "bottom"))
      spine.set_color(colors["muted"])
    axes.tick_params(colors=colors["muted"], labelsize=8.5, length=3)
    axes.grid(color=colors["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    draw(axes, colors)
    for text in (axes.xaxis.label, axes.yaxis.label):
      text.set_color(colors["muted"])
      text.set_fontsize(8.5)
    canvas.draw()
    out[name] = png(np.asarray(canvas.buffer_rgba()))
  return out


def png(pixels):
  """uint8 [H, W] or [H, W, 3 or 4] as a PNG data URI."""
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, "png")
  return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def curve(steps, values, *, percent=False, floor=None, mark=None):
  """A line over steps; floor: a value the y axis reaches down to; mark: a step to point out."""
  steps, values = np.asarray(steps), np.asarray(values, float) * (100 if percent else 1)

  def draw(axes, colors):
    axes.plot(steps, values, color=colors["encoder"], linewidth=1.6, marker="o" if len(steps) < 40 else None,
              markersize=2.6)
    if mark is not None:
      axes.axvline(mark, color=colors["random"], linewidth=1, linestyle="--")
    low, high = values.min(), values.max()
    if floor is not None:
      low = min(low, floor)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_ylim(low - (0 if floor is not None and low == floor else pad), high + pad)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("step")
    if percent:
      axes.set_ylabel("%")
  return chart(draw)


def few_labels(settings, values, *, xlabel, legend):
  """Accuracy (%) against few labels; settings: numbers; values: {contender: (means, deviations)} as fractions."""
  def draw(axes, colors):
    for i, (name, (means, deviations)) in enumerate(values.items()):
      x = np.asarray(settings, float) * 1.035 ** (i - (len(values) - 1) / 2)       # side by side, not upon each other
      axes.errorbar(x, 100 * np.asarray(means), 100 * np.asarray(deviations), color=colors[name], marker=MARKERS[name],
                    markersize=4.5, linewidth=1.7, elinewidth=1.2, capsize=3, label=CONTENDERS[name])
    axes.set_xscale("log")
    axes.set_xticks(settings, [f"{s:g}" for s in settings])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(xlabel)
    axes.set_ylabel("accuracy, %")
    if legend:
      axes.legend(frameon=False, fontsize=8.5, labelcolor=colors["ink"], loc="lower right")
  return chart(draw, 500, 320)


def stages(names, values):
  """Accuracy (%) of a probe on each stage, in order; values: {contender: fractions, None for those without}."""
  def draw(axes, colors):
    for contender, found in values.items():
      x = [i for i, v in enumerate(found) if v is not None]
      axes.plot(x, [100 * found[i] for i in x], color=colors[contender], marker=MARKERS[contender], markersize=4.5,
                linewidth=1.7, label=CONTENDERS[contender])
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 0)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=colors["ink"])
  return chart(draw, 500, 320)


def scatter(points, labels, names):
  """A map of points [N, 2] coloured by class; names of a single character are the markers themselves."""
  def draw(axes, colors):
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
      spine.set_visible(True)
      spine.set_color(colors["grid"])
    groups = class_groups(labels, names) if labels is not None else [("", colors["encoder"], np.arange(len(points)))]
    letter = all(len(name) == 1 and name.isalnum() for name, _, _ in groups)
    for name, color, rows in groups:
      axes.scatter(*points[rows].T, s=30 if letter else 11, marker=f"$\\mathbf{{{name}}}$" if letter else "o",
                   color=color, alpha=0.9, linewidths=0)
  return chart(draw, 500, 400)


def class_groups(labels, names, most=20):
  """[(name, colour, rows)] of the classes; where there are more than `most`, the commonest and "others"."""
  found, counts = np.unique(labels, return_counts=True)
  if len(found) > most:
    found = np.sort(found[np.argsort(-counts, kind="stable")[:most - 1]])
  colors = matplotlib.colormaps["tab10" if len(found) <= 10 else "tab20"].colors
  out = [(names[c], matplotlib.colors.to_hex(colors[i % len(colors)]), np.flatnonzero(labels == c))
         for i, c in enumerate(found)]
  rest = np.flatnonzero(~np.isin(labels, found))
  return out + ([("others", "#8a8f98", rest)] if len(rest) else [])


def confusion(counts, names):
  """Counts [K, K], rows the true classes, as shares of their rows; with numbers, in percent, where they are few."""
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  few = len(names) <= 12

  def draw(axes, colors):
    axes.grid(False)
    image = axes.imshow(100 * share, cmap="cividis", interpolation="nearest", vmin=0, vmax=100)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85)
    bar.ax.tick_params(colors=colors["muted"], labelsize=8.5, length=3)
    bar.outline.set_visible(False)
    if len(names) <= 44:
      short = [n if len(n) <= 14 else n[:13] + "\N{HORIZONTAL ELLIPSIS}" for n in names]
      size, turned = 8 if few else 6, 90 if max(map(len, short)) > 2 else 0
      axes.set_yticks(range(len(names)), short, fontsize=size)
      axes.set_xticks(range(len(names)), short, fontsize=size, rotation=turned)
    for i, j in np.argwhere(share >= 0.005) if few else ():
      axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=7,
                color="#1c2430" if share[i, j] > 0.55 else "#ffffff")
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    bar.set_label("% of the class", color=colors["muted"], fontsize=8.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
      spine.set_visible(False)
  return chart(draw, 520, 450)


def heat(matrix, labels=None, names=None, halves=False):
  """A matrix [M, M] as a heat map with a colour bar.

  labels: of its rows, which get a tick for each stretch of the same; halves: rows and columns are view 1, then view 2.
  """
  def draw(axes, colors):
    axes.grid(False)
    bounded = np.abs(matrix).max() <= 1.001                # cosines
    low, high = (min(0.0, matrix.min()), 1.0) if bounded else (None, None)
    image = axes.imshow(matrix, cmap="cividis", interpolation="nearest", vmin=low, vmax=high)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85)
    bar.ax.tick_params(colors=colors["muted"], labelsize=8.5, length=3)
    bar.outline.set_visible(False)
    if labels is not None:
      starts = np.flatnonzero(np.diff(labels, prepend=np.nan))
      ends = np.append(starts[1:], len(labels))
      ticks = (starts + ends - 1) / 2
      show = [str(names[labels[s]])[:10] for s in starts]
      if len(ticks) <= 44:
        axes.set_yticks(ticks, show, fontsize=7)
        axes.set_xticks(ticks, show, fontsize=7, rotation=0 if max(map(len, show)) == 1 else 90)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
      spine.set_visible(False)
    if halves:
      axes.axhline(len(matrix) / 2 - 0.5, color=colors["face"], linewidth=1.5)
      axes.axvline(len(matrix) / 2 - 0.5, color=colors["face"], linewidth=1.5)
      axes.set_xlabel("view 1, then view 2")
  return chart(draw, 520, 450)
