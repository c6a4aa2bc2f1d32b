"""BERT (Devlin et al., 2019), with masks drawn anew at every step.

  sslx pretrain --config configs/bert.py:text --config.data.name=text:FILE --workdir runs/bert

variants: text (yours: sentences or running text) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="text"):
  c = presets.text(arg)
  c.method = methods.options("bert")
  return c
