"""How well the learnt judges agree with people: python benchmarks/judges.py [--data-root FOLDER] [--only refusal|harm].

FOLDER (or SEAR_PUBLIC_DATA) is the folder of public sets; what is trained on is in sear_core/judges/training_data.py.
Every row is judged by a model that has seen neither it nor its prompt (refusal) or question (harm). Answers of three
sets that no judge was trained on, all of which comply, show how often one is called a refusal. XSTest and HarmBench are
read nowhere. Prints one JSON object; progress goes to standard error. Some four minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from sear_core.data.readers import read_records
from sear_core.evaluation.intervals import wilson
from sear_core.judges.agreement import agreement, difference
from sear_core.judges.harm_classifier import harm_features, train_harm
from sear_core.judges.prefixes import prefix_match
from sear_core.judges.refusal_classifier import RefusalClassifier
from sear_core.judges.refusal_rules import CLASSES, classify
from sear_core.judges.refusal_training import groups, train_refusal
from sear_core.judges.training_data import RefusalRow, harm_rows, refusal_rows

FOLDS = 5
OTHER_FOLDS = (1, 2, 3)  # seeds of other assignments of the prompts to folds
RESAMPLES = 2000


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def refusal(root: Path) -> dict:
    """Folds grouped by prompt; and the committed weights on answers of sets that they were not trained on."""
    rows = refusal_rows(root)
    found = {"chatgpt_refusals, folds by prompt": _out_of_fold(rows, GroupKFold(FOLDS))}
    for seed in OTHER_FOLDS:
        folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
        found[f"chatgpt_refusals, other folds by prompt ({seed})"] = _out_of_fold(rows, folds)
    for name, others in compliances(root).items():
        held: dict[str, dict[int, str]] = {"classifier": {}, "rules+classifier": {}}
        _both(RefusalClassifier.load(), others, list(range(len(others))), held)
        found[f"{name}, not trained on"] = _report(others, list(range(len(others))), held)
    return found


def _out_of_fold(rows: list[RefusalRow], folds: GroupKFold) -> dict:
    judged: dict[str, dict[int, str]] = {"classifier": {}, "rules+classifier": {}}
    for fold, (train, test) in enumerate(folds.split(rows, groups=groups(rows)), start=1):
        _both(train_refusal([rows[i] for i in train]), rows, [int(i) for i in test], judged)
        say(f"refusal: fold {fold} of {FOLDS}")
    return _report(rows, list(range(len(rows))), judged)


def compliances(root: Path) -> dict[str, list[RefusalRow]]:
    """Answers that comply by the making of their sets; no person labelled them as such."""
    coconot = [record for _, record in read_records(root / "coconot/coconot_pref.jsonl")]
    gsm8k = [record for _, record in read_records(root / "gsm8k/test.jsonl")]
    instructions = [
        record for _, record in read_records(root / "self_instruct/user_oriented_instructions.jsonl")
    ]
    return {
        "coconot, chosen": [RefusalRow("coconot", r["prompt"], r["chosen"], 0) for r in coconot],
        "gsm8k, test": [RefusalRow("gsm8k", r["question"], r["answer"], 0) for r in gsm8k],
        "self_instruct, user-oriented": [
            RefusalRow("self_instruct", r["instruction"], r["instances"][0]["output"], 0)
            for r in instructions
        ],
    }


def _both(model, rows: list[RefusalRow], held: list[int], judged: dict[str, dict[int, str]]) -> None:
    prompts, answers = [rows[i].prompt for i in held], [rows[i].answer for i in held]
    judged["classifier"] |= dict(zip(held, model.classify(prompts, answers), strict=True))
    judged["rules+classifier"] |= dict(zip(held, model.with_rules(prompts, answers), strict=True))


def _report(rows: list[RefusalRow], held: list[int], judged: dict[str, dict[int, str]]) -> dict:
    labels = [CLASSES[rows[i].label] for i in held]
    prompts = [rows[i].prompt for i in held]
    prefix = [prefix_match(rows[i].answer) for i in held]
    verdicts = {
        "prefix": prefix,
        "rules": [classify(rows[i].prompt, rows[i].answer) for i in held],
        **{name: [of[i] for i in held] for name, of in judged.items()},
    }
    found: dict = {"rows": len(held)}
    for name, said in verdicts.items():
        told = agreement(said, labels, CLASSES, prompts)
        exact = sum(a == b for a, b in zip(said, labels, strict=True))
        found[name] = {
            "binary": told["binary"], "interval": told["intervals"]["binary"], "kappa": told["kappa_binary"],
            "three_way": exact / len(held), "three_way_interval": list(wilson(exact, len(held))),
            "above_prefix": difference(said, prefix, labels, prompts, True),
        }  # fmt: skip
    return found


def harm(root: Path) -> dict:
    """GPTFuzz, each response once, folds grouped by question; the baseline on the same folds."""
    rows = harm_rows(root)
    answers = [row.answer for row in rows]
    labels = np.array([row.harmful for row in rows])
    questions = np.array([row.question for row in rows])
    features = harm_features(answers)
    ours, baseline = np.zeros(len(rows)), np.zeros(len(rows))
    for fold, (train, test) in enumerate(GroupKFold(FOLDS).split(rows, groups=questions), start=1):
        model = train_harm([rows[i] for i in train], features=features[train])
        ours[test] = 1 / (1 + np.exp(-(features[test] @ model.weights[:-1] + model.weights[-1])))
        words = TfidfVectorizer()
        plain = LogisticRegression(max_iter=1000).fit(
            words.fit_transform([answers[i] for i in train]), labels[train]
        )
        baseline[test] = plain.predict_proba(words.transform([answers[i] for i in test]))[:, 1]
        say(f"harm: fold {fold} of {FOLDS}")
    found: dict = {"rows": len(rows), "questions": len(set(questions)), "harmful": float(labels.mean())}
    for name, scores in (("tf-idf + logistic regression", baseline), ("harm classifier", ours)):
        hits = int(((scores >= 0.5) == labels).sum())
        found[name] = {
            "auroc": float(roc_auc_score(labels, scores)), "accuracy": hits / len(rows),
            "accuracy_interval": list(wilson(hits, len(rows))),
        }  # fmt: skip
    return found | {"difference": _paired(labels, ours, baseline, questions)}


def _paired(labels: np.ndarray, a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> dict:
    """a minus b, accuracy and AUROC, [value, low, high]: 95 % percentile bootstrap over questions."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(clusters == name) for name in np.unique(clusters)]

    def measure(i: np.ndarray) -> tuple[float, float]:
        accuracy = float(((a[i] >= 0.5) == labels[i]).mean() - ((b[i] >= 0.5) == labels[i]).mean())
        return accuracy, float(roc_auc_score(labels[i], a[i]) - roc_auc_score(labels[i], b[i]))

    value = measure(np.arange(len(labels)))
    draws = np.array([
        measure(np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))]))
        for _ in range(RESAMPLES)
    ])  # fmt: skip
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return {name: [value[k], float(low[k]), float(high[k])] for k, name in enumerate(("accuracy", "auroc"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", default=os.environ.get("SEAR_PUBLIC_DATA"))
    parser.add_argument("--only", choices=("refusal", "harm"))
    arguments = parser.parse_args()
    if not arguments.data_root:
        parser.error("expected --data-root or SEAR_PUBLIC_DATA")
    root = Path(arguments.data_root)
    parts = {"refusal": refusal, "harm": harm}
    print(json.dumps({k: f(root) for k, f in parts.items() if arguments.only in (None, k)}, indent=1))


if __name__ == "__main__":
    main()
