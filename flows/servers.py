"""Local servers to try a team's set-up without Docker: PostgreSQL, an S3 store, MLflow and Prefect as child processes.

    python -m flows.servers        (make servers)

Each function is a context manager that yields an address once its server answers, and stops it with all that it
started. `sear schedule` takes its Prefect server from here, the integration tests all four. For trying out: the S3
store (moto) keeps its objects in memory; a team's own machine has compose.yaml.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from sear_core.errors import InputError

START_SECONDS = 300.0
HOST, DATABASE_USER, BUCKETS = "127.0.0.1", "sear", ("mlflow", "dvc")
PORTS = {"prefect": 4200, "mlflow": 5000, "s3": 9000, "postgres": 5433}
OTHERS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL", "PREFECT_API_KEY")
# Of the S3 store on this machine alone, which takes any.
S3_KEYS = {"AWS_ACCESS_KEY_ID": "sear", "AWS_SECRET_ACCESS_KEY": "sear", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def usual_port(name: str) -> int:
    """The port that people know a server by, or another one where something listens there already."""
    with socket.socket() as probe:
        return free_port() if probe.connect_ex((HOST, PORTS[name])) == 0 else PORTS[name]


@contextmanager
def server(
    name: str, command: Sequence[str], log: Path, ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None, **options: Any,
) -> Iterator[None]:  # fmt: skip
    """A child process until the block ends; entered once `ready`. Raises InputError with the log's end where it is not.

    What tells this process of other servers does not reach it.
    """
    from tasks.processes import stop_tree

    own = {k: v for k, v in os.environ.items() if k not in OTHERS}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=own | dict(environment or {}), stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True, **options,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                why = " ".join(log.read_text(errors="replace").split())[-600:]
                raise InputError(f"{name} did not start: {why or 'it says nothing'} ({log})")
            time.sleep(0.2)
        yield
    finally:
        stop_tree(process.pid)


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=3) as response:  # noqa: S310 - of this machine
            return bool(response.status < 300)
    except (OSError, ValueError):
        return False


@contextmanager
def prefect_server(home: Path, port: int = 0, database: str = "") -> Iterator[str]:
    """A Prefect server with its scheduler and pages; yields its API's URL. `database`: instead of SQLite in `home`."""
    port = port or free_port()
    url = f"http://{HOST}:{port}/api"
    environment = {"PREFECT_HOME": str(home)} | (
        {"PREFECT_API_DATABASE_CONNECTION_URL": database} if database else {}
    )
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with server("Prefect", command, home / "server.log", lambda: answers(f"{url}/health"), environment):
        yield url


@contextmanager
def mlflow_server(
    folder: Path, store: str, artifacts: str, endpoint: str = "", port: int = 0, workers: int = 1
) -> Iterator[str]:
    """An MLflow server on a database; it keeps artifacts itself, so that clients need no key to where they lie."""
    port = port or free_port()
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port),
               "--artifacts-destination", artifacts, "--workers", str(workers)]  # fmt: skip
    # the database's URL holds a password, which a command line would show to everyone here
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **S3_KEYS,
    }
    if endpoint:
        environment["MLFLOW_S3_ENDPOINT_URL"] = endpoint
    with server("MLflow", command, folder / "mlflow.log", lambda: answers(f"{url}/health"), environment):
        yield url


@contextmanager
def s3_server(folder: Path, port: int = 0, buckets: Sequence[str] = BUCKETS) -> Iterator[str]:
    """An S3 store in memory (moto) with empty buckets; yields its endpoint. Raises InputError without the dev extra."""
    from importlib.util import find_spec

    if find_spec("moto") is None or find_spec("botocore") is None:
        raise InputError("the S3 store needs moto: pip install -e '.[dev]' -c constraints.txt")
    port = port or free_port()
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with server("the S3 store", command, folder / "s3.log", lambda: answers(f"{url}/moto-api/")):
        import botocore.session

        client = botocore.session.get_session().create_client(
            "s3", endpoint_url=url, aws_access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"], region_name=S3_KEYS["AWS_DEFAULT_REGION"],
        )  # fmt: skip
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        yield url


def postgres_binaries() -> Path | None:
    """The folder with PostgreSQL's programs: of the search path, or the newest where Debian keeps them."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return places[-1].parent if places else None


@contextmanager
def postgres_server(folder: Path, databases: Sequence[str], port: int = 0) -> Iterator[dict[str, str]]:
    """A PostgreSQL server; yields {database: postgresql:// URL}, with a password of its own in `folder`.

    PostgreSQL refuses to run as root: then its processes and `folder` belong to the user postgres, or nobody. Raises
    InputError where the programs are missing or that user cannot reach the folder.
    """
    programs = postgres_binaries()
    if programs is None:
        raise InputError("PostgreSQL's programs (initdb, postgres) are not on this machine")
    port, data, secret = port or free_port(), folder / "data", folder / "password"
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        options |= _other_user(folder)

    def call(program: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / program, *arguments], capture_output=True, text=True, **options, **more
        )

    if not (data / "PG_VERSION").exists():
        shutil.rmtree(data, ignore_errors=True)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(16))
        if "user" in options:
            shutil.chown(secret, options["user"])
        made = call("initdb", "-D", str(data), "-U", DATABASE_USER, f"--pwfile={secret}", "--encoding=UTF8",
                    "--auth=scram-sha-256", "--locale=C")  # fmt: skip
        if made.returncode:
            raise InputError(f"{data}: PostgreSQL cannot make a cluster there: {made.stderr.strip()[-400:]}")
    if (data / "postmaster.pid").exists():  # of a start that was killed
        call("pg_ctl", "stop", "-D", str(data), "-m", "fast")
    password = secret.read_text().strip()
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-c", f"listen_addresses={HOST}",
               "-c", "unix_socket_directories="]  # fmt: skip
    at = ("-h", HOST, "-p", str(port), "-U", DATABASE_USER)

    def ready() -> bool:
        return call("pg_isready", *at).returncode == 0

    with server("PostgreSQL", command, folder.with_name(f"{folder.name}.log"), ready, **options):
        for database in databases:
            made = call("createdb", *at, database, env=os.environ | {"PGPASSWORD": password})
            if made.returncode and "already exists" not in made.stderr:
                raise InputError(f"PostgreSQL: cannot make the database {database}: {made.stderr.strip()}")
        try:
            yield {
                name: f"postgresql://{DATABASE_USER}:{password}@{HOST}:{port}/{name}" for name in databases
            }
        finally:
            call("pg_ctl", "stop", "-D", str(data), "-m", "fast")  # does not wait until all have hung up


def _other_user(folder: Path) -> dict[str, Any]:
    """Popen's options for an ordinary user that is given the folder."""
    import pwd

    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names.get("nobody")
    if user is None:
        raise InputError("PostgreSQL does not run as root, and there is no user postgres or nobody here")
    shutil.chown(folder, user.pw_uid, user.pw_gid)
    options: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    if subprocess.run(["test", "-w", folder], cwd="/", **options).returncode:
        raise InputError(f"{folder}: the user {user.pw_name}, whom PostgreSQL runs as, cannot reach it")
    return options


def main() -> None:
    """Start all four, on their usual ports where those are free, say how to use them, and run until interrupted."""
    from filelock import FileLock, Timeout

    from flows.command_line import find_workspace
    from tasks.processes import own

    workspace = find_workspace()
    folder = workspace.root / ".sear" / "servers"
    folder.mkdir(parents=True, exist_ok=True)
    private = folder / "postgres"
    if os.geteuid() == 0:  # root's own folders are often closed to the user that PostgreSQL runs as
        name = hashlib.sha256(str(workspace.root).encode()).hexdigest()[:8]
        private = Path("/var/lib/sear") / f"postgres-{name}"
    own()
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(folder / "lock", timeout=0))
        except Timeout:
            raise InputError(f"{folder}: the servers of this checkout run already") from None
        databases = stack.enter_context(
            postgres_server(private, ["mlflow", "prefect"], usual_port("postgres"))
        )
        endpoint = stack.enter_context(s3_server(folder, usual_port("s3")))
        tracking = stack.enter_context(
            mlflow_server(folder, databases["mlflow"], "s3://mlflow", endpoint, usual_port("mlflow"))
        )
        asynchronous = databases["prefect"].replace("postgresql://", "postgresql+asyncpg://")
        api = stack.enter_context(prefect_server(folder / "prefect", usual_port("prefect"), asynchronous))
        print(
            f"export MLFLOW_TRACKING_URI={tracking}\nexport PREFECT_API_URL={api}\n"
            + "".join(f"export {name}={value}\n" for name, value in S3_KEYS.items())
            + "dvc remote add --local -d team s3://dvc/data && "
            f"dvc remote modify --local team endpointurl {endpoint}\n"
            "# in another shell; Ctrl-C here ends the servers, and with them what the S3 store holds",
            flush=True,
        )
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
