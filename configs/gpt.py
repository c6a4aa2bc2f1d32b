"""GPT (Radford et al., 2018).

  sslx pretrain --config configs/gpt.py:text --config.data.name=text:FILE --workdir runs/gpt

variant   data and encoder                              on 2 CPU cores   expect
text      yours: bytes, 4 blocks of width 128, k = 128  10 minutes       2.13 bits a byte of held-out Shakespeare
tiny      digits drawn in letters: everything once      20 seconds       nothing
"""

from sslx import methods, presets


def get_config(arg="text"):
  c = presets.text(arg)
  c.encoder.causal, c.encoder.dropout = True, 0.0
  c.method = methods.options("gpt", context=16 if arg == "tiny" else 128)
  if arg == "text":
    c.data.length = 4096                                     # of which each step sees a piece
    c.total_steps, c.batch_size = 3000, 16
    c.encoder.width, c.encoder.heads = 128, 4
  return c
