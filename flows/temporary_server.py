"""Prefect's temporary API server, in a session of its own and no longer there than the run.

The only difference to Prefect's: a Ctrl-C in the terminal, or a SIGTERM to the whole process group, reaches the run
and not its server, which the run needs to end in order; the server ends with the run, however that ends; and what it
says goes to a log in Prefect's home, where it would stand between the run's own lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

APP = "prefect.server.api.server:create_app"
LOG, LOG_BYTES = "temporary-server.log", 1 << 20


def prepare() -> None:
    """Have this process's temporary server, where it comes to one, started here; this process owns what it starts.

    To be called before the first flow. Prefect's class hands out the one instance that it knows for no port.
    """
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    from tasks import processes

    class InItsOwnSession(SubprocessASGIServer):
        def _run_uvicorn_command(self) -> Any:
            own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
            settings = get_current_settings().to_environment_variables(exclude_unset=True)
            path = get_current_settings().home / LOG
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as log:
                if log.tell() > LOG_BYTES:
                    log.truncate(0)
                begin = log.tell()
                process: Any = subprocess.Popen(
                    [sys.executable, "-m", "flows.temporary_server", str(self.port)], stdout=log, stderr=log,
                    env=os.environ | own | settings, start_new_session=True,
                )  # fmt: skip
            process.stderr = path.open(errors="replace")  # Prefect reads it where the server does not start
            process.stderr.seek(begin)
            return process

    processes.own()
    if None not in SubprocessASGIServer._instances:
        InItsOwnSession()


def main(port: int) -> None:
    import uvicorn

    from tasks.processes import end_with_owner

    end_with_owner()
    uvicorn.run(APP, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    main(int(sys.argv[1]))
