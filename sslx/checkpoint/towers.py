"""What a run holds besides its encoder: its other towers and their records, what the loss compares, captions."""

import jax

from sslx import errors, methods, paths
from sslx.checkpoint.encoder import Encoder, module_of, of_workdir, reads, spec_of
from sslx.methods import towers


def spec_of_tower(spec, tower, shape):
  """The record of another tower of the same run, whose encoder the method's option of its name tells, for examples of
  the batch's `shape`; texts are there one or several an example."""
  config = spec["config"]
  shape = list(shape[-1:] if tower == "text" else shape[1:])
  own = {"encoder": towers.options(config, tower), "data": config["data"] | {"key": tower}}
  return spec | {"tower": tower, "encoder": own["encoder"], "shape": shape, "config": config | own,
                 "data": spec["data"] | {"key": tower, "shape": shape}}


def compares(spec):
  """Whether the method of this record compares towers, of which it names one or more beside its encoder."""
  name, options = methods.split(spec["config"]["method"])
  built_in = spec["encoder"] and name in methods.names() and "tower" not in spec       # of a tower's own record
  return bool(built_in and methods.make(name, module_of(spec), **options).spaces)


def spaces(workdir, step=None):
  """{tower: Encoder whose output is what the loss compares} of a run that compares towers, from a checkpoint."""
  method, params, state, spec = trained(workdir, step)
  if method.spaces is None:
    raise errors.UsageError(f"the method {spec['method']} compares no towers: clip, siglip and the like do")
  found, shapes = method.spaces(params, state), spec["data"]["members"]
  mine = lambda t: spec if t == reads(spec) else spec_of_tower(spec, t, (1, *shapes[t]))
  return {t: Encoder(module, variables, tuple(mine(t)["shape"]), mine(t))
          for t, (module, variables) in found.items()}


def captioner(workdir, step=None):
  """images [B, H, W, C] in [0, 1] -> ids [B, T], what the method of a run says of them at a checkpoint."""
  method, params, state, spec = trained(workdir, step)
  if method.caption is None:
    raise errors.UsageError(f"the method {spec['method']} makes no captions: virtex does")
  params, state = jax.device_put((params, state))
  return lambda image: method.caption(params, state, image)


def trained(workdir, step=None):
  """(Method, params, state, spec) of a run at one of its checkpoints."""
  step, tree, record = of_workdir(paths.path(workdir), step)
  spec = spec_of(record["config"], record["environment"])
  name, options = methods.split(spec["config"]["method"])
  return methods.make(name, module_of(spec), **options), tree["params"], tree["state"], spec | {"step": step}
