"""TSDAE (Wang et al., 2021): a denoising autoencoder of text.

  sslx pretrain --config configs/text_denoising.py:text --config.data.name=text:FILE --workdir runs/tsdae

variants: text (yours: sentences) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="text"):
  c = presets.text(arg)
  small = {"code": 8, "width": 8, "heads": 2} if arg == "tiny" else {}
  c.method = methods.options("text_denoising", **small)
  return c
