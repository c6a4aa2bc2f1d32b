"""Distillation: a student agrees with a teacher. Each is a mean over examples that do not see each other."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import times, unit, wide


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
    center: [K], subtracted from the teacher.
    student_temp, teacher_temp: temperatures.
  """
  chex.assert_rank([student, teacher], 3)
  chex.assert_equal_shape_suffix([student, teacher], 2)
  if max(len(student), len(teacher)) < 2:
    raise ValueError("dino needs at least two views: with one there is no pair of different ones")
  teacher, center = jax.lax.stop_gradient((wide(teacher), wide(center)))
  target = jax.nn.softmax((teacher - center) / teacher_temp, -1)                        # [T, B, K]
  predicted = jax.nn.log_softmax(wide(student) / student_temp, -1)                      # [S, B, K]
  cross = -jnp.einsum("tbk,sbk->ts", target, predicted, precision="highest") / student.shape[1]
  different = ~jnp.eye(*cross.shape, dtype=bool)
  return jnp.sum(cross, where=different) / different.sum()


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
