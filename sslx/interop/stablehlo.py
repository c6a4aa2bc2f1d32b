"""An encoder as a program of its own: StableHLO through jax.export, weights and normalisation inside."""

import os
import pathlib

import jax
import jax.export
import jax.numpy as jnp

from sslx import errors

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
RUN = ("import pathlib, jax.export; encoder = jax.export.deserialize(pathlib.Path(FILE).read_bytes()); "
       "z = encoder.call(images)")


def export(encoder, out):
  """Writes the serialised program to `out`; returns {"program": how its input is made and how it is run}.

  images [b, H, W, C], float32 in [0, 1] and any number b of them -> the representation [b, D].
  """
  try:
    import flatbuffers  # noqa: F401
  except ImportError:
    raise errors.UsageError("jax.export writes its files with flatbuffers: `pip install flatbuffers`") from None
  out, shape = pathlib.Path(out), encoder.shape
  images = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"b, {', '.join(map(str, shape))}"), jnp.float32)
  forward = jax.jit(lambda x: encoder.module.apply(encoder.variables, x, train=False))
  program = jax.export.export(forward, platforms=PLATFORMS)(images)
  part = out.with_name(f".{out.name}.part")
  try:
    part.write_bytes(program.serialize())
    os.replace(part, out)
  except OSError as e:
    part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {out}: {e.strerror or e}") from e
  (width,) = program.out_avals[0].shape[1:]
  fit = encoder.spec["config"]["data"]["fit"]
  resize = {"crop": "the short side to the size, the middle kept", "squash": "both sides to the size"}[fit]
  return {"program": {
      "input": {"shape": ["b", *shape], "dtype": "float32", "layout": "NHWC", "channels": "RGB" if shape[2] == 3 else
                f"{shape[2]}", "range": [0, 1], "size": list(shape[:2]), "resize": f"{resize}, antialiased"},
      "output": {"shape": ["b", width], "dtype": str(program.out_avals[0].dtype)},
      "normalisation": "inside the program", "platforms": list(PLATFORMS), "needs": ["jax", "flatbuffers"],
      "calling_convention_version": program.calling_convention_version, "run": RUN}}
