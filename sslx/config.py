"""What a run is: every key there is, its type and its default. A config file starts from `default()` and changes it.

  from sslx import config, encoders, methods

  def get_config(arg=""):
    c = config.default()
    c.method = methods.options("simclr", temperature=0.2)
    c.encoder = encoders.options("resnet18", width=16)
    return c
"""

import ast
import importlib.util
import json
import pathlib

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from sslx import errors


def default():
  """A ConfigDict with every key of a run; batch sizes, steps and learning rates are global, never per device."""
  c = ConfigDict()
  c.seed = 0
  c.seeds = 1                     # so many runs by one command, of seed, seed + 1, ..., a folder of the workdir each
  c.rates = ()                    # peak learning rates in place of optim.lr: for each of them that many runs
  c.total_steps = 0               # length of the run in steps, or ...
  c.total_epochs = 0.0            # ... in passes over the training split: set one of the two
  c.batch_size = 256
  c.dispatch = 1                  # steps that the devices are given at once: less waiting for the host with small steps
  c.slices = 1                    # of the batch, one by one through the networks: less memory, one loss over all
  c.init = ""                     # a workdir or exported file whose encoder the run starts from; "" = random weights
  c.init_frozen = 0               # steps at the start in which the encoder stays as it is while fresh heads warm up
  c.init_rate = 1.0               # the encoder's learning rate after that, to which it climbs, as a share of the heads'
  c.precision = "float32"         # or "bfloat16": matrix products and activations; parameters, norms, losses stay wide
  c.deterministic = True          # bit-exact resume on GPU too, for some speed

  c.mesh = ConfigDict()
  c.mesh.data = -1                # devices that share the batch (-1: all that are left), times ...
  c.mesh.fsdp = 1                 # ... those that also split parameters, optimizer, targets and queues among them
  c.mesh.least = 2**14            # elements that an array has at least to be split
  c.mesh.whole = ()               # regular expressions: arrays with such a path are not

  c.data = ConfigDict()
  c.data.name = "digits"          # digits | tfds:NAME | folder:, npz:, text:, audio:, video:, ...:PATH | dotted name
  c.data.dir = placeholder(str)   # where prepared sets live; else TFDS_DATA_DIR, else the user's cache
  c.data.size = 0                 # side in pixels or voxels that the host resizes to; 0 keeps the images as they are
  c.data.fit = "crop"             # crop (short side to size, middle kept) | squash (both sides to size)
  c.data.length = 0.0             # text: tokens; audio: seconds; video: frames; points: of them; 0 = as is usual
  c.data.rate = 0                 # audio: Hz; video: every so manieth frame; 0 = as the files have it
  c.data.tokenizer = "bytes"      # text: bytes, or a file of the tokenizers library
  c.data.key = ""                 # pairs, or points with pictures: the member that is evaluated; "" = image, or points
  c.data.channels = 0             # 3: grey images become RGB; 0 keeps the channels
  c.data.limit = 0                # only the first N training examples of a seeded shuffle; 0 = all
  c.data.labels = ""              # training examples with labels: 10% | 5 (of each class) | FILE (names, positions)
  c.data.votes = ""               # a file path,label,label,... or path,label,confidence: see data/votes.py; "" = none
  c.data.unlabelled = False       # with labels=...: the other training examples come along, without theirs
  c.data.on_error = "raise"       # raise | skip: corrupt images, found once at preparation
  c.data.workers = 0              # processes that decode images; 0 = threads of this one
  c.data.device = False           # the whole data set lies on the devices, to which the host sends positions alone

  c.encoder = ConfigDict({"name": "resnet18"})         # encoders.options(name, ...)
  c.method = ConfigDict({"name": "simclr"})            # methods.options(name, ...)

  c.optim = ConfigDict()
  c.optim.name = "sgd"            # sgd | adamw | lars | lamb | muon
  c.optim.lr = 0.1                # peak learning rate, at the reference batch if `scale` is not none
  c.optim.scale = "none"          # none | linear | sqrt: lr * (batch_size / reference_batch) or its square root
  c.optim.reference_batch = 256
  c.optim.schedule = "cosine"     # cosine | linear | constant, after the warm-up
  c.optim.warmup = 0.0            # share of the run in which the rate climbs from 0
  c.optim.final = 0.0             # the rate at the end, as a share of the peak
  c.optim.weight_decay = 1e-4     # on kernels alone: biases, norms and other 1-D parameters are exempt
  c.optim.decay_final = placeholder(float)             # weight decay at the end, along half a cosine; else constant
  c.optim.layer_decay = 1.0       # rate of each block of the encoder, as a share of the next one's (fine-tuning)
  c.optim.trust_clip = False      # lars: kernels never move faster than by plain SGD (LARC)
  c.optim.momentum = 0.9          # sgd and lars
  c.optim.b2 = 0.999              # adamw and lamb; muon, for what is no matrix
  c.optim.clip = 0.0              # global norm that gradients are clipped to; 0 = off
  c.optim.critic_rate = 1.0       # an adversary's learning rate, as a share of the others'

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 1000       # steps; 0 = by minutes alone
  c.checkpoint.minutes = 0.0      # or minutes, whichever comes first; 0 = steps alone
  c.checkpoint.keep = 2           # the last n; the best one is kept beside them
  c.checkpoint.best = "auto"      # what "best" means: knn | rankme | auto (knn where labels exist, else rankme) | none
                                  # knn of data without labels is the mean of that on evaluate.data

  c.evaluate = ConfigDict()
  c.evaluate.every = 0            # steps between evaluations during the run; 0 = only when asked
  c.evaluate.protocols = ("knn", "health")             # during the run: of knn, health, pretext (the held-out task)
  c.evaluate.read = "h"           # during the run: h, the representation, or z, what the loss compares
  c.evaluate.data = ()            # further labelled sets, data.names: kNN on each during the run, all in sslx evaluate
  c.evaluate.train = 10_000       # at most that many training and ...
  c.evaluate.test = 2_000         # ... test examples (0 = all)
  c.online_probe = True           # a linear probe learns beside the encoder, without touching it (labelled sets only)

  c.log = ConfigDict({"every": 50})
  c.stop = ConfigDict({"plateau": False})              # end the run when the pretext task has stopped improving
  return c.lock()


def load(text):
  """The ConfigDict of FILE[:VARIANT]."""
  name, _, variant = text.partition(":")
  path = pathlib.Path(name)
  if not path.is_file():
    near = [str(p) for p in sorted(path.parent.glob("*.py"))] if path.parent.is_dir() else []
    raise errors.unknown("config file", name, near)
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except (SyntaxError, ImportError, NameError) as e:
    raise errors.UsageError(f"{path} cannot be loaded: {type(e).__name__}: {errors.first_line(e)}") from e
  if not hasattr(module, "get_config"):
    raise errors.UsageError(f"{path} defines no get_config(arg): see configs/simclr.py")
  try:
    return module.get_config(variant) if variant else module.get_config()
  except (AttributeError, KeyError, TypeError) as e:        # a typo in a key, a value of the wrong type
    raise errors.UsageError(f"{path}: get_config failed: {errors.first_line(e)}") from e


def restored(saved):
  """The locked ConfigDict of a run's config.json, with its types back: tuples, and keys that were left open."""
  from sslx import encoders, methods
  from sslx.augment import recipes
  tuples = lambda group: {k: tuple(v) if isinstance(v, list) else v for k, v in group.items() if v is not None}
  c = default().unlock()
  for key, value in saved.items():
    if key in ("encoder", "method"):
      if (value or {}).get("name") == "imported":
        raise errors.UsageError("this workdir holds imported weights, no run: start one from them with --config FILE "
                                "--config.init=DIR --workdir NEW")
      if not value or value.get("name") == "given":
        raise errors.UsageError(f"this run had its {key} as an object: continue it from Python, with the same object")
      value = tuples(value)
      if "aug" in value:
        value["aug"] = recipes.options(**tuples(value["aug"]))
      c[key] = {"encoder": encoders, "method": methods}[key].options(**value)
    elif isinstance(value, dict):
      c[key].update(tuples(value))
    else:
      c[key] = tuple(value) if isinstance(value, list) else value
  return c.lock()


def _literal(text):
  try:
    ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return False
  return True


def override(config, arguments):
  """Sets --config.KEY=VALUE arguments, checked and converted by ml_collections.

  A new encoder.name, method.name or method.aug.name comes first and brings its own options, keeping those it shares;
  of one built-in architecture for another, mean, std and dtype alone. Before them comes init, which brings the encoder
  whose weights it names and makes grey images RGB for one that reads those.
  """

  from sslx import checkpoint, encoders, methods
  from sslx.augment import recipes

  pairs = []
  for argument in arguments:
    key, equals, value = argument.removeprefix("--config.").partition("=")
    if not argument.startswith("--config.") or not equals:
      raise errors.UsageError(f"unknown argument {argument}: config keys are set as --config.batch_size=512")
    pairs.append((key, value))
  for key, value in pairs:
    if key == "init" and value:
      with config.unlocked():
        onto(config, checkpoint.read_spec(value), value)
  for group, home in (("encoder", encoders), ("method", methods), ("method.aug", recipes)):
    for key, value in pairs:
      if key == f"{group}.name":
        parent = config.method if group == "method.aug" else config
        last = group.rpartition(".")[2]
        if last not in parent:
          raise errors.UsageError(f"{key} cannot be set: the method {config.method.name} of this config has no {last}")
        with config.unlocked():
          kept = (encoders.shared(parent[last].get("name"), value) if group == "encoder" else home.accepted(value))
          parent[last] = home.options(value, **{k: v for k, v in parent[last].items() if k in kept})
  allowed = flat(config)
  for n, (key, value) in enumerate(pairs):
    if key not in allowed:
      raise errors.unknown("config key", key, allowed)
    if isinstance(allowed[key], tuple) and not value.startswith("("):         # 128,64 or knn,linear, also in brackets
      items = [i.strip() for i in value.removeprefix("[").removesuffix("]").split(",") if i.strip()]
      words = any(isinstance(i, str) for i in allowed[key]) if allowed[key] else not all(map(_literal, items))
      pairs[n] = key, f"({''.join((repr(i) if words else i) + ',' for i in items)})"
  values = flags.FlagValues()
  argv = ["sslx", *(f"--config.{k}={v}" for k, v in pairs)]
  try:
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    values(argv)
  except (flags.Error, ValueError, TypeError) as e:
    raise errors.UsageError(f"a config value does not fit its key: {errors.first_line(e)}") from e
  return config


def onto(c, spec, where):
  """Gives `c` the encoder of the record `spec`, found in `where`, its tokenizer, and colour to grey images if it needs
  that."""
  from sslx import encoders
  if not spec["encoder"]:
    raise errors.UsageError(f"the encoder in {where} is an object of a user's own: start from it in Python")
  c.encoder = encoders.options(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec["encoder"].items()})
  key = spec.get("data", {}).get("key", "image")
  c.data.channels = 3 if key == "image" and spec["shape"][2] == 3 else 0
  if key == "text":
    c.data.tokenizer = spec["config"]["data"].get("tokenizer", c.data.tokenizer)


FREE = ("mesh", "checkpoint", "log", "evaluate", "stop", "data.name", "data.workers", "data.device",
        "data.dir", "data.labels", "data.votes",
        "method.source")                                     # may differ on resume; fingerprints tell of other data


def flat(c, prefix=""):
  """{"data.name": ..., "optim.lr": ...} of a nested mapping."""
  out = {}
  for k, v in c.items():
    out.update(flat(v, f"{prefix}{k}.") if hasattr(v, "items") else {f"{prefix}{k}": v})
  return out


def plain(c):
  """The config as JSON would give it back: dicts, lists, strings, numbers and None."""
  return json.loads(json.dumps(c.to_dict() if hasattr(c, "to_dict") else c))


def difference(old, new):
  """{key: (old, new)} of two plain configs, for the keys that change the numbers of a run.

  What an old config does not have is at its default: keys are added so that it changes nothing.
  """
  old, new = flat(plain(default())) | flat(old), flat(new)
  missing = "(not there)"
  pairs = {k: (old.get(k, missing), new.get(k, missing)) for k in sorted(old | new)}
  free = lambda k: any(k == f or k.startswith(f + ".") for f in FREE)
  return {k: (a, b) for k, (a, b) in pairs.items() if a != b and not free(k)}
