"""Ambient sound (Owens et al., 2016): an image tells which cluster the statistics of its sound are in."""

import jax
import jax.numpy as jnp
import optax

from sslx import augment, errors, heads
from sslx.augment import recipes, spectrum
from sslx.methods import base, kmeans, pretext, towers, words

CITE = """@inproceedings{owens2016ambient,
  title={Ambient Sound Provides Supervision for Visual Learning},
  author={Owens, Andrew and Wu, Jiajun and McDermott, Josh H. and Freeman, William T. and Torralba, Antonio},
  booktitle={ECCV}, year={2016}}"""


def statistics(picture, parts):
  """Mean and deviation over time of each band of spectrograms [B, F, n, 1], in `parts` of it apart: [B, 2 F parts]."""
  x = picture[..., 0]
  if parts > x.shape[-1]:
    raise errors.UsageError(f"method.parts is {parts}: the spectrograms have {x.shape[-1]} frames")
  x = x[..., :x.shape[-1] // parts * parts].reshape(*x.shape[:2], parts, -1)            # [B, F, parts, n / parts]
  return jnp.concatenate([x.mean(-1), x.std(-1)], 1).reshape(len(x), -1)


def make(encoder, *, clusters=30, parts=1, rate=16000, window=512, hop=160, mels=40, aug=recipes.mae()):
  """Ambient sound on an image encoder. Where image or sound is missing, the pair does not count.

  The clusters are found as the run goes: k-means over the stream of batches (Sculley, 2010), from the first sounds on.

  Args:
    clusters: K, at most the batch.
    parts: of the recording, whose statistics are taken apart; 1 for what lasts, as in the paper, more where order says
      something.
    rate, window, hop, mels: of the spectrogram: samples a second, of a frame, from one to the next; bands.
    aug: (key, image) -> view.
  """
  if clusters < 2 or parts < 1:
    raise errors.UsageError(f"clusters is {clusters} and parts {parts}: there must be two clusters, and one part")
  head = heads.MLP((clusters,))

  def heard(wave):                                                                      # [B, T] -> [B, F, n, 1]
    return spectrum.picture(spectrum.log_mel(wave, rate=rate, size=window, hop=hop, mels=mels))[..., None]

  def views(rng, batch):
    wave = augment.to_float(batch["audio"])
    return {"image": pretext.first_view(aug, rng, batch["image"]), "audio": wave,
            "whole": towers.there(batch["image"]) & towers.there(wave)}

  net = base.Network(encoder, head)

  def init(rng, batch):
    made = jax.eval_shape(views, rng, batch)
    params, stats = base.init(net, rng, made["image"])
    width = jax.eval_shape(lambda wave: statistics(heard(wave), parts), made["audio"]).shape[1]
    centroids = jnp.zeros((clusters, width), float)
    return {"net": params}, {"net": stats, "centroids": centroids, "count": jnp.zeros(clusters, float)}

  def clustered(state, views):
    """(cluster of each example [B], {"centroids", "count"} after these), each centroid the mean of all it was given."""
    x, whole = statistics(heard(views["audio"]), parts), views["whole"]
    if clusters > len(x):
      raise errors.UsageError(f"ambient_sound starts its {clusters} clusters from a batch of {len(x)}: set "
                              "method.clusters lower or batch_size higher")
    first = x[jax.lax.top_k(whole.astype(x.dtype), clusters)[1]]
    centroids = jnp.where(state["count"].sum() > 0, state["centroids"], first)
    label = kmeans.nearest(x, centroids)
    mine = jax.nn.one_hot(label, clusters, dtype=x.dtype) * whole[:, None]              # [B, K]
    count = state["count"] + mine.sum(0)
    moved = centroids + (mine.T @ x - mine.sum(0)[:, None] * centroids) / jnp.maximum(count, 1)[:, None]
    return label, {"centroids": moved.astype(centroids.dtype), "count": count.astype(state["count"].dtype)}

  def loss(params, state, views, rng, progress):
    label, moved = clustered(state, views)
    out, stats = base.forward(net, params["net"], state["net"], views["image"], rng=rng)
    value = words.share(optax.softmax_cross_entropy_with_integer_labels(out, label), views["whole"])
    size = jnp.zeros(clusters, out.dtype).at[label].add(views["whole"].astype(out.dtype))
    metrics = {"cluster_accuracy": words.share((out.argmax(-1) == label).astype(out.dtype), views["whole"]),
               "largest_cluster": size.max() / jnp.maximum(size.sum(), 1)}
    return value, ({"net": stats, **moved}, metrics)

  def show(params, state, views):
    label, _ = clustered(state, views)
    order = jnp.argsort(label)                               # images of one cluster side by side
    return {"by the cluster of their sound": views["image"][order], "spectrogram": heard(views["audio"])[order, ::-1]}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state),
                     reads=("image", "audio"), show=show)
