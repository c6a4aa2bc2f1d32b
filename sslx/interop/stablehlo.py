"""An encoder as a program of its own: StableHLO through jax.export, weights and normalisation inside."""

import os
import pathlib

import jax
import jax.export
import jax.numpy as jnp

from sslx import errors

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
RUN = ("import pathlib, jax.export; encoder = jax.export.deserialize(pathlib.Path(FILE).read_bytes()); "
       "z = encoder.call(examples)")


def export(encoder, out):
  """Writes the serialised program to `out`; returns {"program": how its input is made and how it is run}.

  Any number b of examples, images [b, H, W, C] or what else the encoder reads -> the representation [b, D].
  """
  try:
    import flatbuffers  # noqa: F401
  except ImportError:
    raise errors.UsageError("jax.export writes its files with flatbuffers: `pip install flatbuffers`") from None
  out, shape = pathlib.Path(out), encoder.shape
  dtype = jnp.int32 if encoder.reads == "text" else jnp.float32
  examples = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"b, {', '.join(map(str, shape))}"), dtype)
  forward = jax.jit(lambda x: encoder.module.apply(encoder.variables, x, train=False))
  program = jax.export.export(forward, platforms=PLATFORMS)(examples)
  part = out.with_name(f".{out.name}.part")
  try:
    part.write_bytes(program.serialize())
    os.replace(part, out)
  except OSError as e:
    part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {out}: {e.strerror or e}") from e
  (width,) = program.out_avals[0].shape[1:]
  return {"program": {
      "input": {"shape": ["b", *shape], "dtype": jnp.dtype(dtype).name, **made(encoder)},
      "output": {"shape": ["b", width], "dtype": str(program.out_avals[0].dtype)},
      "normalisation": "inside the program", "platforms": list(PLATFORMS), "needs": ["jax", "flatbuffers"],
      "calling_convention_version": program.calling_convention_version, "run": RUN}}


def made(encoder):
  """What else is to know of the program's input, by what the encoder reads."""
  data, shape = encoder.spec["config"]["data"], encoder.shape
  if encoder.reads == "text":
    return {"tokens": f"ids of the tokenizer {data['tokenizer']}, 0 behind the end; of bytes, each byte plus 1"}
  if encoder.reads == "audio":
    return {"samples": f"mono, in [-1, 1], at {data['rate'] or 'the recordings own'} Hz"}
  if encoder.reads == "points":
    return {"points": "x, y, z; their mean at 0 and the farthest at distance 1"}
  if encoder.reads == "voxels":
    return {"layout": "NDHWC", "range": [0, 1], "size": list(shape[:3])}
  resize = {"crop": "the short side to the size, the middle kept", "squash": "both sides to the size"}[data["fit"]]
  *_, height, width, channels = shape
  return {"layout": "NTHWC" if encoder.reads == "video" else "NHWC", "range": [0, 1], "size": [height, width],
          "channels": "RGB" if channels == 3 else f"{channels}", "resize": f"{resize}, antialiased"}
