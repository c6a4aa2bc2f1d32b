"""Whose files there are: where the encoder lies in them, which keys are heads, how images were normalised."""

import dataclasses

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HEADS = ("fc.", "head.", "heads.", "classifier.", "linear.", "last_linear.", "projector.", "projection_head.",
         "predictor.", "prototypes.", "mask_token", "masked_embed", "pre_logits.")
WRAPPED = ("state_dict.", "model.", "model_state_dict.", "model_ema.", "state_dict_ema.", "net.", "")      # whole files


@dataclasses.dataclass(frozen=True)
class Source:
  """places: prefixes of the encoder's keys, the first that fits is taken; heads: prefixes of keys beside HEADS that
  need no place; mean, std: of the images."""
  places: tuple = ("",)
  heads: tuple = ()
  mean: tuple = IMAGENET["mean"]
  std: tuple = IMAGENET["std"]


TEACHER = ("teacher.backbone.", "teacher.", "backbone.", "student.backbone.", "student.", "")
SOURCES = {
    "timm": Source(),
    "torchvision": Source(),
    "dino": Source(TEACHER),
    "ibot": Source(TEACHER),
    "dinov2": Source(TEACHER, heads=("dino_head.", "ibot_head.")),
    "mae": Source(("encoder.", ""), heads=("decoder", "fc_norm.")),
    "mocov3": Source(("base_encoder.", "momentum_encoder.", "encoder_q.", "")),          # encoder_q: MoCo v1 and v2
    "simclr": Source(("backbone.", "encoder.", "convnet.", "online_encoder.", "")),
    "solo-learn": Source(("backbone.", "encoder.", "momentum_backbone.", "")),
    "lightly": Source(("backbone.", "student_backbone.", "teacher_backbone.", "backbone_momentum.", "")),
    "vissl": Source(("classy_state_dict.base_model.model.trunk._feature_blocks.", "base_model.model.trunk."
                     "_feature_blocks.", "trunk._feature_blocks.", "_feature_blocks.",
                     "classy_state_dict.base_model.model.trunk.", "trunk.", "")),
    "big_vision": Source(("params.img.", "params.", "opt.target.", "img.", ""), mean=(0.5,) * 3, std=(0.5,) * 3)}
SKIPPED = ("module", "_orig_mod")                            # added to keys by DistributedDataParallel, compile


def plain(arrays):
  """A flat dict without the parts of its keys that say nothing."""
  return {".".join(p for p in key.split(".") if p not in SKIPPED): a for key, a in arrays.items()}


def places(name):
  """The prefixes of a source, in the order in which they are tried."""
  return [wrapped + place for place in SOURCES[name].places for wrapped in WRAPPED]


def is_head(name, key):
  """Whether a key below the encoder's prefix belongs to a head."""
  return key.startswith(HEADS + SOURCES[name].heads)


def norm(name):
  """{"mean", "std"} of the images that a source's encoders were trained on."""
  return {"mean": SOURCES[name].mean, "std": SOURCES[name].std}
