"""The registered model's code. MLflow executes a copy of this file (models from code); nobody imports it."""

from __future__ import annotations

import warnings
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

# MLflow advises type hints on `predict`, but would read a signature without parameters from them.
with warnings.catch_warnings(record=True):

    class SearModel(PythonModel):
        """Prompts in, answers out: a list of texts, "" where the model wrote no proper answer.

        With the parameter `show_reasoning` a list of {prompt, answer, reasoning, well_formed} instead.
        """

        def load_context(self, context: Any) -> None:
            from tasks.serving import Answerer

            self.answerer = Answerer(context.artifacts["model"])

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            from tasks.serving import MAX_NEW_TOKENS, prompts_of

            params = params or {}
            show = bool(params.get("show_reasoning", False))
            limit = int(params.get("max_new_tokens", MAX_NEW_TOKENS))
            answered = self.answerer(prompts_of(model_input), show, limit)
            return list(answered) if show else [row["answer"] for row in answered]


set_model(SearModel())
