"""Applications behind a real HTTP server on the loopback, in a thread of the test's process."""

import socket
import threading
from contextlib import contextmanager

import uvicorn


@contextmanager
def behind_uvicorn(app):
    """Serve an application at a free port; yields its address without a slash at the end."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
