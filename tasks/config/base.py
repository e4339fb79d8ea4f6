"""What all sections share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, field_validator


class Section(BaseModel):
    """A config section: unknown keys are errors, values are immutable, numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _true_is_no_number(cls, value: Any, made: ValidatorFunctionWrapHandler) -> Any:
        found = made(value)
        if isinstance(value, bool) and found is not value:  # pydantic takes true for 1
            raise ValueError(f"expected a number, not {str(value).lower()}")
        return found


class StageLimits(Section):
    """How long a stage may take, and how often it is tried again after a time-out or the death of its process."""

    timeout_minutes: float | None = Field(None, gt=0)
    retries: int = Field(0, ge=0, le=10)
