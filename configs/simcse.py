"""SimCSE (Gao et al., 2021): best from an encoder that has learnt something, --config.init=runs/bert.

  sslx pretrain --config configs/simcse.py:text --config.data.name=text:FILE --workdir runs/simcse

variants: text (yours: sentences) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="text"):
  c = presets.text(arg)
  c.method = methods.options("simcse", widths=(16 if arg == "tiny" else 256,))
  return c
