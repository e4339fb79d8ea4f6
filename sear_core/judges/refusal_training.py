"""Training of the refusal classifier. Our choice throughout.

The training sets name no partial refusals. So they are put together: the refusing sentences of a refusal, a turn such
as "However,", and an answer that complies, out of rows of the same fold. Refusals that go on at length are put together
likewise, lest length alone should mean compliance. The sentence model's scores, which the classifier is trained on, are
of sentences that it has not seen (three folds, grouped by prompt).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from sear_core.judges.refusal_classifier import RefusalClassifier, answer_scores, sentence_scores
from sear_core.judges.refusal_features import dense, hashed, masked_sentences
from sear_core.judges.refusal_rules import Reading, read
from sear_core.judges.text import normalise, sentences
from sear_core.judges.training_data import RefusalRow

FOLDS = 3
PARTIAL, LONG = 120, 60  # rows put together per fold
WEIGHTS = {"together": 0.5}  # made rows count for less
SENTENCE_C, ANSWER_C, CLASSIFIER_C = 1.0, 10.0, 0.3
_TURNS = (
    "However, ", "That said, ", "That being said, ", "But ", "Nevertheless, ", "In general, ", "Still, ",
    "If you mean something else: ", "What I can say is this: ", "Here is what I can tell you. ", "",
)  # fmt: skip


def groups(rows: Sequence[RefusalRow]) -> list[str]:
    """What folds are grouped by: the prompt; an answer whose prompt is not known stands for itself."""
    return [row.prompt or row.answer for row in rows]


def train_refusal(rows: Sequence[RefusalRow], seed: int = 0, about: dict | None = None) -> RefusalClassifier:
    """The classifier of these rows; the same numbers for the same rows and seed. Needs refusals and compliances."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    rng = np.random.default_rng(seed)
    texts = [masked_sentences(row.prompt, row.answer) for row in rows]
    readings = [read(row.prompt, row.answer) for row in rows]
    refuses = np.array([row.label > 0 for row in rows])
    features, labels, weights = [], [], []
    for train, held in GroupKFold(FOLDS).split(rows, groups=groups(rows)):
        model = _train_sentences([texts[i] for i in train], refuses[train])
        whole = _train_answers([texts[i] for i in train], refuses[train])
        made = put_together([rows[i] for i in held], [readings[i] for i in held], rng)
        parts = [
            ([texts[i] for i in held], [readings[i] for i in held], [rows[i] for i in held]),
            (
                [masked_sentences(r.prompt, r.answer) for r in made],
                [read(r.prompt, r.answer) for r in made],
                made,
            ),
        ]
        for some_texts, some_readings, some_rows in parts:
            scores = sentence_scores(model, some_texts)
            wholes = answer_scores(whole, some_texts)
            features += [dense(r, s, w) for r, s, w in zip(some_readings, scores, wholes, strict=True)]
            labels += [row.label for row in some_rows]
            weights += [WEIGHTS.get(row.source, 1.0) for row in some_rows]
    classifier = LogisticRegression(C=CLASSIFIER_C, max_iter=3000).fit(np.stack(features), labels, weights)
    return RefusalClassifier(
        _train_sentences(texts, refuses).astype(np.float32),
        _train_answers(texts, refuses).astype(np.float32),
        classifier.coef_.T.astype(np.float32),
        classifier.intercept_.astype(np.float32),
        about or {},
    )


def _train_sentences(texts: Sequence[Sequence[str]], refuses: np.ndarray) -> np.ndarray:
    """The sentence model, (BUCKETS + 1,). An answer's sentences together weigh the root of their number."""
    from sklearn.linear_model import LogisticRegression

    flat = [sentence for answer in texts for sentence in answer]
    labels = np.repeat(refuses, [len(answer) for answer in texts])
    weights = np.repeat([len(answer) ** -0.5 if answer else 0 for answer in texts], [len(a) for a in texts])
    model = LogisticRegression(C=SENTENCE_C, max_iter=300, class_weight="balanced")
    model.fit(hashed(flat), labels, weights)
    return np.concatenate([model.coef_[0], model.intercept_])


def _train_answers(texts: Sequence[Sequence[str]], refuses: np.ndarray) -> np.ndarray:
    """The answer model, (BUCKETS + 1,)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=ANSWER_C, max_iter=1000, class_weight="balanced")
    model.fit(hashed([" ".join(answer) for answer in texts]), refuses)
    return np.concatenate([model.coef_[0], model.intercept_])


def put_together(
    rows: Sequence[RefusalRow], readings: Sequence[Reading], rng: np.random.Generator
) -> list[RefusalRow]:
    """PARTIAL partial refusals and LONG long full ones out of the rows."""
    refusing = [
        i
        for i, row in enumerate(rows)
        if row.label == 2 and readings[i].count("refuses", "disowns", "apologises")
    ]
    complying = [i for i, row in enumerate(rows) if row.label == 0 and readings[i].words >= 40]
    made: list[RefusalRow] = []
    if not refusing or not complying:
        return made
    for _ in range(PARTIAL):
        a, b = int(rng.choice(refusing)), int(rng.choice(complying))
        first = readings[a].first("refuses", "disowns", "apologises")
        assert first is not None
        head = list(sentences(normalise(rows[a].answer)))[: first + 1 + int(rng.choice([0, 0, 1, 1, 2]))]
        body = re.split(r"(?<=[.!?\n])\s+", normalise(rows[b].answer))
        body = body[: max(3, int(len(body) * rng.uniform(0.4, 1)))]
        turn = str(rng.choice(_TURNS))
        text = "\n".join(body) if "\n" in rows[b].answer else " ".join(body)
        text = text[:1].lower() + text[1:] if turn.endswith(", ") else text
        opening = " ".join(head) + str(rng.choice([" ", "\n\n"]))
        made.append(RefusalRow("together", rows[b].prompt, opening + turn + text, 1))
    for _ in range(LONG):
        a = int(rng.choice(refusing))
        parts = list(sentences(normalise(rows[a].answer)))
        for b in rng.choice(refusing, size=int(rng.integers(1, 4))):
            parts += list(sentences(normalise(rows[int(b)].answer)))[1:]
        made.append(RefusalRow("together", rows[a].prompt, " ".join(parts), 2))
    return made
