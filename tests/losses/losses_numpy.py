"""Every loss once more, from the papers' formulas, in NumPy and loops: what the library is compared with."""

import numpy as np


def unit(z):
  length = np.linalg.norm(z, axis=-1, keepdims=True)
  return np.divide(z, length, out=np.zeros_like(z), where=length > 0)


def softmax(x):
  return np.exp(log_softmax(x))


def log_softmax(x):
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def log_sigmoid(x):
  return -np.log1p(np.exp(-x)) if x > 0 else x - np.log1p(np.exp(x))


def gradient(f, x, h=1e-5):
  """Central differences of f at x, an entry at a time."""
  out = np.zeros_like(x)
  for i in np.ndindex(x.shape):
    step = np.zeros_like(x)
    step[i] = h
    out[i] = (f(x + step) - f(x - step)) / (2 * h)
  return out


def pair(x, y, same, margin=1.0):
  d = np.linalg.norm(x - y, axis=1)
  return np.mean([d[i]**2 / 2 if same[i] else max(0, margin - d[i])**2 / 2 for i in range(len(x))])


def triplet(a, p, n, margin=1.0):
  return np.mean([max(np.linalg.norm(a[i] - p[i]) - np.linalg.norm(a[i] - n[i]) + margin, 0) for i in range(len(a))])


def triplet_hard(z, labels, margin=1.0):
  terms = []
  for i in range(len(z)):
    d = np.linalg.norm(z - z[i], axis=1)
    positives = [d[j] for j in range(len(z)) if labels[j] == labels[i] and j != i]
    negatives = [d[j] for j in range(len(z)) if labels[j] != labels[i]]
    if positives and negatives:
      terms.append(max(max(positives) - min(negatives) + margin, 0))
  return np.mean(terms) if terms else 0.0


def triplet_semihard(z, labels, margin=1.0):
  terms = []
  for i in range(len(z)):
    d = np.linalg.norm(z - z[i], axis=1)
    negatives = [d[j] for j in range(len(z)) if labels[j] != labels[i]]
    for j in range(len(z)):
      if labels[j] == labels[i] and j != i and negatives:
        further = [v for v in negatives if v > d[j]]
        terms.append(max(d[j] - (min(further) if further else max(negatives)) + margin, 0))
  return np.mean(terms) if terms else 0.0


def info_nce(query, positive, negatives, temperature):
  q, p, n = unit(query), unit(positive), unit(negatives)
  total = 0.0
  for i in range(len(q)):
    logits = np.array([q[i] @ p[i], *(q[i] @ m for m in n)]) / temperature
    total -= log_softmax(logits)[0]
  return total / len(q)


def info_nce_in_batch(query, positive, temperature):
  q, p = unit(query), unit(positive)
  return -np.mean([log_softmax(p @ q[i] / temperature)[i] for i in range(len(q))])


def ntxent(z1, z2, temperature):
  z, n, total = unit(np.concatenate([z1, z2])), len(z1), 0.0
  for i in range(2 * n):
    others = [k for k in range(2 * n) if k != i]
    total -= log_softmax(z[others] @ z[i] / temperature)[others.index((i + n) % (2 * n))]
  return total / (2 * n)


def dcl(z1, z2, temperature):
  z, n, total = unit(np.concatenate([z1, z2])), len(z1), 0.0
  for i in range(2 * n):
    p = (i + n) % (2 * n)
    negatives = np.array([z[i] @ z[k] for k in range(2 * n) if k not in (i, p)]) / temperature
    top = negatives.max()
    total += top + np.log(np.exp(negatives - top).sum()) - z[i] @ z[p] / temperature
  return total / (2 * n)


def supcon(z, labels, temperature):
  z, terms = unit(z), []
  for i in range(len(z)):
    others = [k for k in range(len(z)) if k != i]
    share = log_softmax(z[others] @ z[i] / temperature)
    positives = [share[n] for n, k in enumerate(others) if labels[k] == labels[i]]
    if positives:
      terms.append(-np.mean(positives))
  return np.mean(terms) if terms else 0.0


def clip(image, text, scale):
  logits = scale * unit(image) @ unit(text).T
  correct = lambda m: -np.mean([log_softmax(m[i])[i] for i in range(len(m))])
  return (correct(logits) + correct(logits.T)) / 2


def cola(query, positive):
  return -np.mean([log_softmax(positive @ query[i])[i] for i in range(len(query))])


def siglip(image, text, scale, bias):
  x, y, total = unit(image), unit(text), 0.0
  for i in range(len(x)):
    for j in range(len(y)):
      total -= log_sigmoid((1 if i == j else -1) * (scale * x[i] @ y[j] + bias))
  return total / len(x)


def negative_cosine(p, z):
  return -np.mean([unit(p)[i] @ unit(z)[i] for i in range(len(p))])


def barlow_twins(z1, z2, lambd=5e-3, eps=1e-5):
  a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + eps) for z in (z1, z2))
  total = 0.0
  for i in range(a.shape[1]):
    for j in range(a.shape[1]):
      c = np.mean(a[:, i] * b[:, j])
      total += (1 - c)**2 if i == j else lambd * c**2
  return total


def vicreg(z1, z2, sim=25.0, var=25.0, cov=1.0):
  total = sim * np.mean((z1 - z2)**2)
  for z in (z1, z2):
    total += var / 2 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)))
    c = np.cov(z.T)
    total += cov * (np.sum(c**2) - np.sum(np.diag(c)**2)) / z.shape[1]
  return total


def vibcreg(z1, z2, sim=25.0, var=25.0, cov=200.0):
  total = sim * np.mean((z1 - z2)**2)
  for z in (z1, z2):
    total += var * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)))
    c = unit((z - z.mean(0)).T) @ unit((z - z.mean(0)).T).T
    total += cov * np.mean((c - np.diag(np.diag(c)))**2)
  return total


def whiten(z, eps=1e-4):
  s = np.cov(z.T)
  s = (1 - eps) * s + eps * max(1, np.trace(s) / len(s)) * np.eye(len(s))
  return (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(s)).T


def wmse(z1, z2, eps=1e-4):
  return np.mean(2 - 2 * np.sum(unit(whiten(z1, eps)) * unit(whiten(z2, eps)), 1))


def sinkhorn(scores, epsilon=0.05, iterations=3):
  q = np.exp((scores - scores.max()) / epsilon).T
  k, n = q.shape
  for _ in range(iterations):
    q = q / q.sum(1, keepdims=True) / k
    q = q / q.sum(0, keepdims=True) / n
  return (q * n).T


def swav(scores, queue_scores=None, large=2, temperature=0.1, targets=None):
  """`targets`: scores that the assignments are computed of, which pass no gradient."""
  targets, total = scores if targets is None else targets, 0.0
  for i in range(large):
    rows = targets[i] if queue_scores is None else np.concatenate([targets[i], queue_scores])
    q = sinkhorn(rows)[:scores.shape[1]]
    for v in range(len(scores)):
      if v != i:
        total -= np.mean(np.sum(q * log_softmax(scores[v] / temperature), 1)) / (len(scores) - 1)
  return total / large


def dino(student, teacher, center, student_temp=0.1, teacher_temp=0.04):
  terms = []
  for i in range(len(teacher)):
    p = softmax((teacher[i] - center) / teacher_temp)
    for j in range(len(student)):
      if i != j:
        terms.append(-np.mean(np.sum(p * log_softmax(student[j] / student_temp), 1)))
  return np.mean(terms)


def ibot(student, teacher, center, image, student_temp=0.1, teacher_temp=0.04):
  """Image by image: row i is a hidden patch of image[i]."""
  means = []
  for n in set(image):
    mine = [i for i in range(len(image)) if image[i] == n]
    target = softmax((teacher[mine] - center) / teacher_temp)
    means.append(-np.sum(target * log_softmax(student[mine] / student_temp)) / len(mine))
  return sum(means) / len(means)


def ressl(student, teacher, queue, student_temp=0.1, teacher_temp=0.04):
  p = softmax(unit(teacher) @ unit(queue).T / teacher_temp)
  return -np.mean(np.sum(p * log_softmax(unit(student) @ unit(queue).T / student_temp), 1))


def koleo(x):
  x = unit(x)
  nearest = [min(np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i) for i in range(len(x))]
  return -np.mean(np.log(np.array(nearest) + 1e-8))


def sigreg(z, directions, knots=17, t_max=3.0):
  """Epps and Pulley's statistic with complex numbers, over the whole of [-t_max, t_max]."""
  t, values = np.linspace(-t_max, t_max, 2 * knots - 1), []
  for a in unit(directions):
    phi = np.exp(1j * np.outer(t, z @ a)).mean(1)
    values.append(len(z) * np.trapezoid(np.abs(phi - np.exp(-t**2 / 2))**2 * np.exp(-t**2 / 2), t))
  return np.mean(values)


def scale_invariant(predicted, target, weight, share):
  """Eigen et al. (2014), eq. 4 in its first form, over pairs of places: who is nearer, and by how much."""
  total = 0.0
  for y, t, w in zip(predicted, target, weight, strict=True):
    w = w / w.sum()
    d = y - t
    pairs = 0.5 * np.einsum("i,j,ij->", w, w, (d[:, None] - d[None]) ** 2)              # share = 1
    total += share * pairs + (1 - share) * np.sum(w * d**2)
  return total / len(predicted)


def weighted_l2(predicted, target, weight):
  total = sum(w * np.mean((p - t) ** 2) for p, t, w in zip(predicted, target, weight, strict=True))
  return total / sum(weight)


def weighted_l1(predicted, target, weight):
  total = sum(w * np.mean(np.abs(p - t)) for p, t, w in zip(predicted, target, weight, strict=True))
  return total / sum(weight)


def smooth_l1(predicted, target, weight, beta):
  """Channel by channel, in the two cases of the paper."""
  one = lambda d: d**2 / 2 / beta if abs(d) <= beta else abs(d) - beta / 2
  total = sum(w * np.mean([one(a - b) for a, b in zip(p, t, strict=True)])
              for p, t, w in zip(predicted, target, weight, strict=True))
  return total / sum(weight)


def cross_entropy(logits, token, weight):
  """Place by place, from the probabilities."""
  share = np.exp(logits - logits.max(-1, keepdims=True))
  share = share / share.sum(-1, keepdims=True)
  return -sum(w * np.log(p[t]) for p, t, w in zip(share, token, weight, strict=True)) / sum(weight)


def gan_critic(real, fake):
  return -np.mean([log_sigmoid(v) for v in real.ravel()]) - np.mean([log_sigmoid(-v) for v in fake.ravel()])


def gan_generator(fake):
  return -np.mean([log_sigmoid(v) for v in fake.ravel()])
