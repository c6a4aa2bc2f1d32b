"""Distillation: a student agrees with a teacher. Each is a mean over examples that do not see each other."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import average, times, unit, wide


def negative_cosine(p, z):
  """SimSiam's and, but for 2 + 2 times it, BYOL's (Chen and He, 2021, eq. 1): the mean of -cosine(p, z).

  Args:
    p, z: [B, D], predictions and targets. Where the targets are to have no gradient, the caller stops it.
  """
  chex.assert_rank([p, z], 2)
  chex.assert_equal_shape([p, z])
  return -jnp.mean(jnp.sum(unit(p) * unit(z), -1))


def dino(student, teacher, center, *, student_temp=0.1, teacher_temp=0.04):
  """DINO (Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021, alg. 1).

  The cross-entropy of the centred, sharpened teacher and the student, the mean over examples and over all pairs of a
  teacher's view i and a student's view j != i. No gradient passes to the teacher and the center.

  Args:
    student: [S, B, K], the teacher's views first.
    teacher: [T, B, K].
    center: [K], subtracted from the teacher; None: the teacher's rows are distributions already (sinkhorn's).
    student_temp, teacher_temp: temperatures.
  """
  chex.assert_rank([student, teacher], 3)
  chex.assert_equal_shape_suffix([student, teacher], 2)
  if max(len(student), len(teacher)) < 2:
    raise ValueError("dino needs at least two views: with one there is no pair of different ones")
  target = sharpened(teacher, center, teacher_temp)                                     # [T, B, K]
  predicted = jax.nn.log_softmax(wide(student) / student_temp, -1)                      # [S, B, K]
  cross = -jnp.einsum("tbk,sbk->ts", target, predicted, precision="highest") / student.shape[1]
  different = ~jnp.eye(*cross.shape, dtype=bool)
  return jnp.sum(cross, where=different) / different.sum()


def ibot(student, teacher, center, weight, *, student_temp=0.1, teacher_temp=0.04, axis_name=None):
  """iBOT (Zhou et al., "Image BERT Pre-Training with Online Tokenizer", 2022, eq. 2): masked patches, a mean by weight.

  The cross-entropy of the centred, sharpened teacher, who saw the patch, and the student, who did not. No gradient
  passes to the teacher and the center.

  Args:
    student, teacher: [N, K], of the masked patches.
    center, student_temp, teacher_temp: as of `dino`.
    weight: [N], not negative and not all 0; one over the number of masked patches of its image, and the loss is the
      mean over masked images of the mean over the patches of each.
    axis_name: mapped axis that the patches are spread over.
  """
  chex.assert_rank([student, teacher, weight], [2, 2, 1])
  chex.assert_equal_shape([student, teacher])
  chex.assert_equal_shape_prefix([student, weight], 1)
  target, weight = sharpened(teacher, center, teacher_temp), wide(weight)
  cross = -jnp.sum(target * jax.nn.log_softmax(wide(student) / student_temp, -1), -1)   # [N]
  return average(weight * cross, axis_name) / average(weight, axis_name)


def sharpened(teacher, center, temp):
  """The teacher's distributions [..., K], without gradient; where center is None, the teacher as it is."""
  if center is None:
    return jax.lax.stop_gradient(wide(teacher))
  return jax.nn.softmax(jax.lax.stop_gradient((wide(teacher) - wide(center)) / temp), -1)


def ressl(student, teacher, queue, *, student_temp=0.1, teacher_temp=0.04):
  """ReSSL (Zheng et al., "Relational Self-Supervised Learning with Weak Augmentation", 2021).

  The cross-entropy of the teacher's and the student's distribution over the queue, by cosine similarity. No gradient
  passes to the teacher and the queue.

  Args:
    student, teacher: [B, D], of the same examples.
    queue: [M, D], of others.
    student_temp, teacher_temp: temperatures; the teacher's is the lower one.
  """
  chex.assert_equal_shape([student, teacher])
  chex.assert_rank([student, queue], 2)
  if not len(queue):
    raise ValueError("ressl needs others to compare with: the queue is empty")
  student, teacher, queue = unit(student), *jax.lax.stop_gradient((unit(teacher), unit(queue)))
  target = jax.nn.softmax(times(teacher, queue.T) / teacher_temp, -1)                   # [B, M]
  predicted = jax.nn.log_softmax(times(student, queue.T) / student_temp, -1)
  return -jnp.mean(jnp.sum(target * predicted, -1))
