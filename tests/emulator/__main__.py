"""Starts the emulator in the foreground on the loopback: `python -m emulator`, with `tests` as the current folder.

GATEWAY_PORT is its port, AUTH=true enforces IAM; README.md lists the other variables.
"""

import os

from emulator import options, version


def main() -> None:
    """Run the emulator until a signal ends it.

    Raises:
        SystemExit: another version of MiniStack is installed, or BIND_HOST is no loopback address.
    """
    version.check()
    told = options.from_environment()
    # MiniStack reads these when it is imported; its own default would listen on every address.
    os.environ.update(
        AWS_ENDPOINT_URL=told.endpoint,
        BIND_HOST=options.LOOPBACK,
        LAMBDA_EXECUTOR="local",
        MINISTACK_HOST=options.LOOPBACK,
    )
    # Calls that wait for their turn hold a thread each, and those that run need some for what they call.
    os.environ.setdefault("MINISTACK_WORKER_THREADS", "256")
    from ministack import app  # noqa: PLC0415

    from emulator import (  # noqa: PLC0415
        batch,
        cloudformation,
        distributed_map,
        http_api,
        lambdas,
        log_filters,
        permissions,
        result_writer,
        state_machines,
    )

    parts = (
        lambdas,
        batch,
        state_machines,
        result_writer,
        distributed_map,
        cloudformation,
        http_api,
        log_filters,
        permissions,
    )
    for part in parts:
        part.install(told)
    app.main()


if __name__ == "__main__":
    main()
