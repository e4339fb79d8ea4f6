"""Where a project keeps what: sources, store, MLflow and Prefect homes, locks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sear_core.errors import InputError


@dataclass(frozen=True)
class Workspace:
    """A checkout, or any folder with a `data.dvc`; all paths are absolute."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Workspace:
        """The nearest parent of `start` (the working directory) with a `data.dvc`, else this package's checkout.

        Raises InputError where neither is there.
        """
        here = (start or Path.cwd()).resolve()
        package = Path(__file__).resolve().parents[1]
        for folder in (here, *here.parents, package):
            if (folder / "data.dvc").is_file():
                return cls(folder)
        raise InputError(f"{here}: no project here; expected a data.dvc in this folder or one above it")

    @property
    def store(self) -> Path:
        return self.root / ".sear" / "store"

    @property
    def locks(self) -> Path:
        return self.root / ".sear" / "locks"

    @property
    def mlruns(self) -> Path:
        return self.root / "mlruns"

    @property
    def tracking_uri(self) -> str:
        """The user's MLFLOW_TRACKING_URI, else SQLite under `mlruns/`; nothing is created."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.mlruns / 'mlflow.db'}"

    @property
    def prefect_home(self) -> Path:
        return self.root / ".prefect"

    def resolve(self, path: str) -> Path:
        """A path of the config: absolute as it is, else under the project root."""
        return (self.root / Path(path).expanduser()).resolve()
