"""Which stage of an encoder a parameter belongs to, and stages that stand still: parameters, statistics, noise."""

import inspect

import flax.linen as nn

from sslx import errors, optim

STRATEGIES = {  # name: whether it takes a number of stages
    "linear": False, "freeze": True, "finetune": False, "scratch": False, "copy": True, "copy_freeze": True,
    "auto": False}


def parse(strategy):
  """("freeze", 2) of "freeze=2", ("linear", None) of "linear"; one clear line for what is no strategy."""
  name, equals, number = str(strategy).partition("=")
  if name not in STRATEGIES:
    raise errors.unknown("strategy", name, [k + "=K" * v for k, v in STRATEGIES.items()])
  if bool(equals) != STRATEGIES[name] or (equals and not (number.isdecimal() and int(number) > 0)):
    raise errors.UsageError(f"strategy '{strategy}': " + (f"write {name}=K, K the number of stages, from 1 on"
                                                          if STRATEGIES[name] else f"{name} takes no number"))
  return name, int(number) if equals else None


def stage(name):
  """The stage of an encoder's part by its name: 0 reads the image, infinity comes after the last stage.

  A stage is a block where blocks have no stages (ViT), a convolution where there are no blocks (AlexNet).
  """
  if name == "norm":
    return float("inf")
  number, block = optim.place(name)
  return number or block


def count(encoder_params):
  """How many stages an encoder has."""
  return max((s for s in map(stage, encoder_params) if s < float("inf")), default=0)


def check(encoder_params, strategy):
  """A UsageError where the encoder has no such stages to freeze or copy."""
  name, k = parse(strategy)
  if k is None:
    return
  if "blocks" in encoder_params:
    raise errors.UsageError(f"strategy {strategy}: this ViT keeps its blocks in one array (encoder.scan), which cannot "
                            "be frozen or copied in part: use linear or finetune")
  if not 1 <= k <= (there := count(encoder_params)):
    raise errors.UsageError(f"strategy {strategy}: " + (f"the encoder has stages 1 to {there}" if there else
                            "the parts of this encoder are not named stage1, block1 and so on: use linear or finetune"))


def frozen(strategy):
  """name of an encoder's part -> whether it stands still."""
  name, k = parse(strategy)
  return lambda part: name == "linear" or (name in ("freeze", "copy_freeze") and stage(part) <= k)


def copied(strategy):
  """name of an encoder's part -> whether it starts from the pretrained one (copy: Yosinski et al., 2014)."""
  name, k = parse(strategy)
  return lambda part: name != "scratch" and (name not in ("copy", "copy_freeze") or stage(part) <= k)


def divided(tree, which):
  """Collections or params {"encoder": {part: ...}, other: ...} as (moving, still): parts for which `which` is false,
  and true; the head moves."""
  still = {k: v for k, v in tree.get("encoder", {}).items() if which(k)}
  rest = {k: v for k, v in tree.get("encoder", {}).items() if not which(k)}
  heads = {k: v for k, v in tree.items() if k != "encoder"}
  return heads | ({"encoder": rest} if rest else {}), ({"encoder": still} if still else {})


def joined(moving, still):
  """The tree that `divided` divided."""
  return moving | ({"encoder": {**still["encoder"], **moving.get("encoder", {})}} if still else {})


def standing(which):
  """A context in which parts of the module "encoder" run as in evaluation, whatever `train` is.

  Their batch norm uses its running statistics and does not move them, and they drop nothing out.
  """
  def intercept(call, args, kwargs, context):
    module, path = context.module, context.module.path
    if len(path) > 1 and path[0] == "encoder" and which(path[1]) and context.method_name == "__call__":
      if isinstance(module, nn.BatchNorm):
        object.__setattr__(module, "use_running_average", True)      # of this pass's own copy: modules are bound anew
      elif isinstance(module, nn.Dropout):
        object.__setattr__(module, "deterministic", True)
      elif "drop" in (known := inspect.signature(type(module).__call__)).parameters:
        given = known.bind(module, *args, **kwargs)
        given.arguments["drop"] = None
        args, kwargs = given.args[1:], given.kwargs
    return call(*args, **kwargs)
  return nn.intercept_methods(intercept)
