"""compose.yaml, which no test can start here: its pins are the tested versions, its settings are known to the tools."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
PINNED = dict(
    re.findall(r"^([\w.-]+)==([^\s#]+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
)


def test_every_image_is_pinned_and_has_the_versions_that_are_tested():
    services = COMPOSE["services"]
    assert {"prefect", "mlflow", "postgres", "s3"} <= set(services)
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"\d+\.\d+", tag), name
    assert services["prefect"]["image"] == f"prefecthq/prefect:{PINNED['prefect']}-python3.11"
    dockerfile = services["mlflow"]["build"]["dockerfile_inline"]
    assert f"ghcr.io/mlflow/mlflow:v{PINNED['mlflow']}\n" in dockerfile
    for package, version in re.findall(r'"([\w-]+)==([\d.]+)"', dockerfile):
        assert PINNED[package] == version


def test_ports_are_bound_to_the_machine_itself_and_no_password_is_in_the_file():
    text = (REPOSITORY / "compose.yaml").read_text()
    for service in COMPOSE["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("${BIND:-127.0.0.1}:")
    for name in ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        assert f"${{{name}:?" in text and f"${{{name}:-" not in text


@pytest.mark.parametrize("service", ["mlflow", "prefect"])
def test_the_settings_are_known_to_their_tools(service):
    import mlflow.environment_variables as of_mlflow
    from mlflow.cli import server
    from prefect.settings.legacy import _get_settings_fields
    from prefect.settings.models.root import Settings

    known = {
        "mlflow": {name for name in dir(of_mlflow) if name.startswith("MLFLOW_")}
        | {option.envvar for option in server.params if option.envvar},
        "prefect": set(_get_settings_fields(Settings)),
    }[service]
    own = {name for name in COMPOSE["services"][service]["environment"] if name.startswith(service.upper())}
    assert own and own <= known


@pytest.mark.parametrize("file", ["prefect.yaml", "docs/work-pools.yaml"])
def test_the_deployments_name_a_flow_that_is_there_and_parameters_that_it_takes(file):
    """Read by Prefect's own model; which pools exist is the server's business."""
    from prefect.cli.deploy._models import PrefectYamlModel
    from prefect.flows import load_flow_from_entrypoint

    from flows.config import load_config

    found = PrefectYamlModel.model_validate(yaml.safe_load((REPOSITORY / file).read_text()))
    assert found.prefect_version == PINNED["prefect"] and found.deployments
    for deployment in found.deployments:
        assert deployment.work_pool is not None and deployment.work_pool.name and deployment.schedules
        path, _, name = str(deployment.entrypoint).partition(":")
        flow = load_flow_from_entrypoint(f"{REPOSITORY / path}:{name}")
        assert deployment.parameters.keys() <= flow.parameters.properties.keys()
        load_config(deployment.parameters["preset"], None, deployment.parameters.get("sets"))
