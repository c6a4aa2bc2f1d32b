"""COLA (Saeed et al., 2021).

  sslx pretrain --config configs/cola.py:audio --config.data.name=audio:FOLDER --workdir runs/cola

variants: audio (yours: recordings of about a second) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="audio"):
  c = presets.audio(arg, "audio_resnet10")
  c.method = methods.options("cola", width=16 if arg == "tiny" else 512)
  if arg == "audio":                                         # words, of which shorter stretches miss most; few steps
    c.method.segment, c.method.temperature, c.method.batch_norm = 0.9, 0.2, True
  return c
