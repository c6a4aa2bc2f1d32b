"""Vision transformer (Dosovitskiy et al., 2021) on patches of the log-mel spectrogram, as AST (Gong et al., 2021)."""

from sslx.encoders import audio, vit

VARIANTS = {f"audio_{name}": vit.VARIANTS[name] for name in ("vit_ti", "vit_s", "vit_b")}


def make(variant, *, patch=16, width=0, depth=0, heads=0, pool="mean", base=10000.0, drop_path=0.0, rate=16000,
         window=512, hop=160, mels=64, low=0.0, high=0.0, mean=(0.25,), std=(0.3,), dtype=None):
  """A ViT of `variant` that reads waveforms [B, T].

  Args:
    patch: side of a patch of the spectrogram, in bands and frames; frames beyond the last whole one are cut.
    width, depth, heads, pool, base, drop_path, dtype: as of `vit`.
    rate, window, hop, mels, low, high, mean, std: of the spectrogram, as of `audio_resnet`.
  """
  trunk = vit.make(variant, patch=patch, width=width, depth=depth, heads=heads, pool=pool, base=base,
                   drop_path=drop_path, mean=mean, std=std, dtype=dtype)
  return audio.on(trunk, rate, window, hop, mels, low, high, patch)
