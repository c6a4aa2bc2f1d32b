"""Checkpoints and exported encoders, through Orbax.

A workdir holds
  config.json, environment.json     what was asked, and where and with what it ran
  metrics.jsonl, events.out.*       the run's numbers, a JSON object a line and for TensorBoard
  checkpoints/STEP/                 train state, config and environment; a step's folder appears whole or not at all
  checkpoints/damaged-STEP/         one that could not be read when the run went on
  encoder/                          at the end: variables and spec.json, all that `load_encoder` needs
"""

from sslx.checkpoint.encoder import (
  Encoder as Encoder,
  blank as blank,
  check_fit as check_fit,
  digest as digest,
  export_encoder as export_encoder,
  load_encoder as load_encoder,
  of as of,
  random_encoder as random_encoder,
  read_spec as read_spec,
  recorded as recorded,
  spec_of as spec_of,
)
from sslx.checkpoint.files import (
  Rows as Rows,
  read_json as read_json,
  write_json as write_json,
  write_npz as write_npz,
  write_text as write_text,
)
from sslx.checkpoint.states import (
  Checkpoints as Checkpoints,
  config_of as config_of,
  folders as folders,
  record_of as record_of,
  run_of as run_of,
  single as single,
)
from sslx.checkpoint.tensors import (
  flat as flat,
  nested as nested,
  read_safetensors as read_safetensors,
  write_safetensors as write_safetensors,
)
from sslx.checkpoint.towers import (
  captioner as captioner,
  compares as compares,
  spaces as spaces,
  spec_of_tower as spec_of_tower,
  trained as trained,
)
