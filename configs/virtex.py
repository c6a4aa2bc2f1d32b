r"""VirTex (Desai and Johnson, 2021).

  sslx data tokenizer pairs:PATH --kind words --lower --vocab 2000 --out words.json
  sslx pretrain --config configs/virtex.py:pairs --workdir runs/virtex \
    --config.data.name=pairs:PATH --config.data.tokenizer=words.json
  sslx evaluate --workdir runs/virtex --protocols captions

variants: pairs, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="pairs"):
  c = presets.pairs(arg)
  small = arg == "tiny"
  own = {"width": 16, "heads": 2, "beam": 2} if small else {}
  c.method = methods.options("virtex", **own, aug=presets.aug(
      arg, "mae", **{} if small else {"size": 0, "scale": (0.5, 1.0), "flip_p": 0.0}))
  return c
