"""Restoration of sound (Lu et al., 2013).

  sslx pretrain --config configs/audio_restoration.py:audio --config.data.name=audio:FOLDER --workdir runs/denoised

of noise; --config.method.snr= --config.method.gaps=4 of gaps, --config.method.snr= --config.method.band=0.25,0.5 of a
lost band, --config.method.snr= --config.method.skip=False of nothing, an autoencoder.

variants: audio (yours: recordings of about a second) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="audio"):
  c = presets.audio(arg, "audio_resnet10")
  c.method = methods.options("audio_restoration", width=4 if arg == "tiny" else 8)
  if arg == "audio":
    c.total_steps, c.batch_size = 1200, 16
    c.optim.lr, c.optim.weight_decay = 4e-3, 0.0
  return c
