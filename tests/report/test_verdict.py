"""The words of the verdict, from records that no run had to make."""

import pytest

from sslx.report import judge, record, tables, verdict

PROTOCOLS = {"knn": {"k": 20, "version": "knn-v1", "paper": "Wu"}, "few_label": {"draws": 10, "draws_of_share": 3},
             "sizes": {"test": 400}}
HEALTHY = {"encoder": {"feature_std": 0.7, "effective_rank": 50.0, "effective_rank_share": 0.4},
           "random": {"feature_std": 0.1, "effective_rank": 12.0, "effective_rank_share": 0.1}}


def scores(encoder, random, raw, few=None):
  """An evaluation; few: the three at one label a class, the others hold for all labels."""
  trio = lambda values: dict(zip(("encoder", "random", "raw"), values, strict=True))
  few = few or (encoder, random, raw)
  return {"knn": trio((encoder, random, raw)), "linear": trio((encoder, random, raw)), "health": HEALTHY,
          "few_label": {"1": {k: {"mean": v, "std": 0.03} for k, v in trio(few).items()}}, "protocols": PROTOCOLS}


def run(evaluation=None, *, losses=(5.0, 4.0, 3.0), total=3, exported=3, extra=None, key="image"):
  records = [{"step": i + 1, "loss": v, **(extra or {})} for i, v in enumerate(losses)]
  last = max(len(losses), exported or 0)
  return {"workdir": "runs/my run", "path": None, "config": {}, "environment": {}, "records": records,
          "evaluation": evaluation, "total": total, "exported": exported, "last": last,
          "kind": record.KINDS[key], "finished": exported is not None and exported >= total}


def text(result):
  return " ".join([result["headline"], *result["paragraphs"], *(c for _, c in result["next"])])


def test_winning():
  result = verdict.of(run(scores(0.95, 0.70, 0.80, few=(0.75, 0.40, 0.60))))
  assert result["status"] == "good" and result["headline"] == "Yes: the pretraining worked."
  assert "With one label a class the encoder reaches 75.0 % accuracy: 15.0 points above raw pixels and 35.0 points " \
         "above the same encoder at random initialisation." in text(result)
  assert "it wins 3 against raw pixels and 3 against the untrained encoder" in text(result)
  assert "has not collapsed: it uses the equivalent of 50.0 of 125 dimensions" in text(result)
  assert "What to try" not in text(result) and not result["next"]
  assert ("One label a class", "75.0 %", "+15.0 vs raw pixels") in result["tiles"]


def test_winning_with_few_labels_alone():
  result = verdict.of(run(scores(0.95, 0.70, 0.95, few=(0.75, 0.40, 0.60))))
  assert result["status"] == "good" and "where labels are few" in result["headline"]
  assert "0.0 points above raw pixels (which may be chance)" in text(result)


def towers(encoder, random, chance, count=200, shot=None):
  """An evaluation of towers: R@10 both ways, R@1 a tenth of it, of as many pairs."""
  recalls = lambda v: {way: {"R@1": v / 10, "R@10": v} for way in ("image to text", "text to image")}
  own = lambda v: recalls(v) | {"chance": recalls(chance), "count": {"image": count, "text": 5 * count}}
  part = lambda v: {"accuracy": v, "chance": 0.1, "confusion": [[count, 0], [0, 0]]}
  found = {"retrieval": {"encoder": own(encoder), "random": own(random)}, "protocols": {}}
  return found | ({"zero_shot": {"encoder": part(shot), "random": part(0.1)}} if shot else {})


@pytest.mark.parametrize("values, status, words", [
    ((0.5, 0.06, 0.05), "good", "Yes: what belongs together is found, 10.0 times as often as"),
    ((0.5, 0.06, 0.05, 200, 0.8), "good", "8.0 to 10.0 times as often as by chance"),
    ((0.06, 0.05, 0.05), "bad", "no more often than by chance"),
    ((0.30, 0.28, 0.05), "bad", "than by the same towers without any training"),
    ((0.13, 0.05, 0.05), "mixed", "A little"),
    ((0.5, 0.06, 0.05, 200, 0.12), "mixed", "Partly: what belongs together is found more often "
     "than by chance in 2 of 3 comparisons"),
    ((0.9, 0.3, 0.3), "mixed", "A little")])                # R@10 tells little there, R@1 counts
def test_towers_are_held_against_chance_and_random_ones(values, status, words):
  result = verdict.of(run(towers(*values)))
  assert result["status"] == status and words in result["headline"]
  assert ("What to try: a larger batch" in text(result)) == (status != "good")
  assert "not evaluated" not in text(result).lower() and "no accuracies" not in text(result)


def test_towers_in_words():
  result = verdict.of(run(towers(0.5, 0.06, 0.05) | scores(0.80, 0.60, 0.95) | {"protocols": PROTOCOLS}))
  assert "From image to text the right one is among the first 10 for 50.0 % of the queries; by chance it would be " \
         "5.0 %, with the same towers at random initialisation 6.0 %." in text(result)
  assert result["status"] == "good" and "The encoder of images by itself: Not yet" in text(result)
  assert result["tiles"][0] == ("Image to text, R@10", "50.0 %", "by chance 5.0 %")
  old = towers(0.5, 0.06, 0.05)                             # as it was written before there was chance
  del old["retrieval"]["encoder"]["chance"]
  assert "nobody can say" in verdict.of(run(old))["headline"]


@pytest.mark.parametrize(("own", "others", "status", "words"), [
    (0.12, 0.04, "good", "better than others"), (0.096, 0.08, "mixed", "little better"),
    (0.05, 0.05, "bad", "as well")])
def test_captions(own, others, status, words):
  said = {"bleu4": own, "bleu4_others": others, "distinct": 0.145, "count": 200}
  result = verdict.of(run({"captions": {"encoder": said}, "protocols": PROTOCOLS}))
  assert result["status"] == status and words in result["headline"]
  assert f"BLEU-4 of the captions of 200 held-out images is {100 * own:.1f}, and {100 * others:.1f}" in text(result)
  assert "14.5 % of them differ" in text(result) and "no accuracies" not in text(result)


def test_losing_to_raw_pixels():
  result = verdict.of(run(scores(0.80, 0.60, 0.95, few=(0.50, 0.30, 0.62))))
  assert result["status"] == "bad" and "raw pixels do better in 3 of 3" in result["headline"]
  assert "12.0 points below raw pixels and 20.0 points above" in text(result)
  assert "What to try: a longer run" in text(result)
  assert ("One label a class", "50.0 %", "\N{MINUS SIGN}12.0 vs raw pixels") in result["tiles"]


def test_no_better_than_untrained():
  result = verdict.of(run(scores(0.80, 0.80, 0.60)))
  assert result["status"] == "bad" and "no better than the same network without any training" in result["headline"]


def test_partly():
  result = verdict.of(run(scores(0.90, 0.60, 0.97, few=(0.75, 0.40, 0.60))))
  assert result["status"] == "mixed"
  assert "beats raw pixels in 1 of 3 comparisons, and they beat it in 2" in result["headline"]


def test_without_a_random_contender():
  evaluation = scores(0.95, 0.70, 0.80)
  for p in ("knn", "linear"):
    del evaluation[p]["random"]
  del evaluation["few_label"]["1"]["random"]
  assert verdict.of(run(evaluation))["status"] == "good"


@pytest.mark.parametrize("margin, tests, sign", [
    (0.02, 200, 0), (0.02, 20_000, 1), (-0.02, 20_000, -1), (0.004, 10**7, 0)])
def test_a_margin_counts_when_it_is_more_than_chance(margin, tests, sign):
  evaluation = {"knn": {"encoder": 0.8 + margin, "raw": 0.8}, "protocols": {"sizes": {"test": tests}}}
  assert judge.comparisons(evaluation)[0]["over"]["raw"] == (pytest.approx(margin), sign)


def test_unlabelled():
  result = verdict.of(run({"health": HEALTHY, "protocols": {"health": {}}, "notes": []}))
  assert result["status"] == "unknown" and "healthy" in result["headline"] and "without labels" in result["headline"]
  assert "for those, the training and the test set need labels" in text(result) and not result["next"]


def test_collapsed():
  result = verdict.of(run({"health": {"encoder": {"feature_std": 0.001, "effective_rank": 1.1}}, "protocols": {}}))
  assert result["status"] == "bad" and "collapsed" in result["headline"] and "batch norm" in text(result)


def test_collapsed_though_it_has_accuracies():
  evaluation = scores(0.9, 0.5, 0.6) | {"health": {"encoder": {"feature_std": 0.001, "effective_rank": 1.1}}}
  assert verdict.of(run(evaluation))["headline"] == "No: the representation has collapsed."


def test_unevaluated():
  result = verdict.of(run(extra={"knn": 0.9, "online_accuracy": 0.5, "rankme": 20.0, "feature_std": 0.5}))
  assert result["status"] == "unknown" and "Not evaluated yet" in result["headline"]
  assert "90.0 % at step 3" in text(result) and "a sign of life, not a test" in text(result)
  assert [c for _, c in result["next"]] == ["sslx evaluate --workdir 'runs/my run'"]
  assert "20.0 dimensions" in text(result)


def test_unfinished():
  result = verdict.of(run(total=10, exported=None))
  assert result["headline"].endswith("(the run is not finished).")
  assert "at step 3 of 10; no encoder has been exported yet" in text(result)
  assert "sslx pretrain --workdir 'runs/my run'" in text(result)
  assert ("Steps", "3", "of 10, not finished") in result["tiles"]


def test_extended_and_not_yet_exported_again():
  assert "the encoder shown is that of step 2" in text(verdict.of(run(total=10, exported=2)))


def test_ended_on_a_plateau():
  result = verdict.of(run(total=10, exported=3) | {"finished": True})
  assert "ended at step 3 of 10 because the loss had stopped falling" in text(result)


def test_evaluation_of_another_step():
  assert "evaluation is that of step 2" in text(verdict.of(run(scores(0.9, 0.5, 0.6) | {"step": 2})))


@pytest.mark.parametrize("losses, words", [
    ([5 - 0.01 * i for i in range(100)], "was still falling"),
    ([5 - 0.1 * min(i, 30) + 0.001 * (i % 2) for i in range(100)], "has not fallen since step"),
    ([5.0, 4.0], "too few to say"), ([5.0, float("nan"), 4.0], "diverged"), ([5.0], "Not evaluated"), ([], "nobody")])
def test_loss(losses, words):
  assert words in text(verdict.of(run(losses=losses)))


def test_table_is_in_percent_and_marks_the_best_after_rounding():
  rows = tables.accuracies(scores(0.97001, 0.5, 0.97004, few=(0.7, 0.4, 0.6)))
  assert [(r["protocol"], r["setting"]) for r in rows] == [
      ("kNN", "k=20"), ("Linear probe", "all labels"), ("Few labels", "1 label a class")]
  assert [c[1:] for c in rows[0]["cells"]] == [("97.0", "", True), ("50.0", "", False), ("97.0", "", True)]
  assert rows[2]["cells"][0][1:] == ("70.0", "± 3.0", True)


def test_records_that_are_not_finite_or_not_there():
  records = [{"step": 1, "loss": float("nan")}, {"step": 2, "lr": 0.1}, {"step": 3, "loss": 2.0, "mine": 1.0}]
  assert record.series(records, "loss") == ([3], [2.0]) and record.others(records) == ["mine"]
  assert judge.percent(0.1234) == "12.3 %"


def test_other_data_have_their_own_words():
  said = text(verdict.of(run(scores(0.5, 0.3, 0.8), key="audio")))
  assert "below log-mel spectrograms" in said and "more recordings" in said
  assert not any(w in said for w in ("image", "pixel"))
