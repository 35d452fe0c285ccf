"""Functions in Python run under `awslambdaric`, the client that Lambda itself uses, so that errors, time-outs and the
shape of the context are the real ones; those that are container images run what their image's entry point is here.

MiniStack has environments for `provided` runtimes that speak the Runtime API over the loopback; a function becomes one
of these, with a bootstrap that starts the client or the entry point. Sources: Lambda's guide, "Runtime API", "Working
with layers", "Defined runtime environment variables", "Working with container images".
"""

import hashlib
import io
import os
import shlex
import shutil
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

from emulator.options import Options, find_image

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
INHERITED = ("PATH", "HOME", "TMPDIR", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", *CREDENTIALS)
"""What a function may have in common with the emulator's process: nothing else that a developer's shell may hold."""
_options: list[Options] = []
_room: list["Room"] = []
_layers_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Room:
    """What this machine can run at once."""

    calls: threading.Semaphore
    starts: threading.Semaphore


class FunctionWorker(lambda_runtime.ProvidedWorker):
    """One execution environment of a function. A subclass, since MiniStack's pool makes and drives it."""

    def _spawn(self, init_timeout=None):
        package = self.code_zip
        self.code_zip = _packed(_of_image(self.config) if _is_image(self.config) else _of_package(self.config, package))
        try:
            # More at once than there are cores, and all of them are too late for Lambda's 10 s of initialisation.
            with _room[0].starts:
                super()._spawn(init_timeout)
        finally:
            self.code_zip = package

    def _await_init(self, init_timeout=None):
        """As MiniStack's, but a failed import keeps its name: Runtime.ImportModuleError and its like."""
        try:
            super()._await_init(init_timeout)
        except RuntimeError:
            if not isinstance(self._init_error, dict):
                raise
            message, name = (self._init_error.get(key, "") for key in ("errorMessage", "errorType"))
            raise lambda_runtime.ProvidedRuntimeError(message, name) from None


def install(options: Options) -> None:
    """Give Python functions this worker, and all functions an environment of their own."""
    _options[:] = [options]
    cores = os.cpu_count() or 1
    _room[:] = [Room(threading.Semaphore(options.functions), threading.Semaphore(cores))]
    worker_class, warm = lambda_runtime._worker_class_for, lambda_svc._execute_function_warm
    variables = lambda_svc._provided_worker_env

    def choose(config):
        return FunctionWorker if _is_python(config) or _is_image(config) else worker_class(config)

    def execute(func, event, request_id):
        python = _is_python(func.get("config") or func)
        with _room[0].calls:
            return (lambda_svc._execute_function_provided_warm if python else warm)(func, event, request_id)

    def environment(config, code_dir, port):
        own = (config.get("Environment") or {}).get("Variables") or {}
        return {
            name: value
            for name, value in variables(config, code_dir, port).items()
            if name in own or name in INHERITED or name not in os.environ
        }

    lambda_runtime._worker_class_for = choose
    lambda_svc._execute_function_warm = execute
    lambda_svc._execute_function_docker = _execute_image
    lambda_svc._provided_worker_env = environment
    lambda_svc._create_function = _refused(lambda_svc._create_function)
    lambda_svc._update_code = _refused(lambda_svc._update_code)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    handlers["create"] = _failed(handlers["create"])


def _execute_image(func, event, request_id):
    config = func.get("config") or func
    with _room[0].calls:
        # What the pool takes for the function's package is all that tells one image from another.
        return lambda_svc._execute_function_provided_warm(
            {**func, "code_zip": config["ImageUri"].encode()}, event, request_id
        )


def _missing(code):
    """Why a function cannot be made of some code; None where it can."""
    name = (code or {}).get("ImageUri")
    if name is None or find_image(_options[0].images, name) is not None:
        return None
    return f"Source image {name} does not exist. Provide a valid source image."


def _refused(call):
    def checked(*words):
        said = words[-1]
        why = _missing(said.get("Code", said))
        return call(*words) if why is None else error_response_json("InvalidParameterValueException", why, 400)

    return checked


def _failed(create):
    def checked(logical_id, properties, stack):
        why = _missing(properties.get("Code"))
        if why is not None:
            raise ValueError(why)
        return create(logical_id, properties, stack)

    return checked


def _is_python(config):
    return str(config.get("Runtime", "")).startswith("python")


def _is_image(config):
    return config.get("PackageType") == "Image"


def _packed(lines):
    """A package with nothing but a program: the form of a `provided` function."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as package:
        package.writestr("bootstrap", "\n".join(["#!/bin/sh", *lines]) + "\n")
    return held.getvalue()


def _exports(variables):
    return [f"export {key}={shlex.quote(value)}" for key, value in variables.items()]


def _of_image(config):
    """The program that starts an image's entry point with the function's command."""
    image = find_image(_options[0].images, config["ImageUri"])
    wished = (config.get("ImageConfigResponse") or {}).get("ImageConfig") or {}
    own = (config.get("Environment") or {}).get("Variables") or {}
    folder = wished.get("WorkingDirectory")
    folder = image.cwd if folder is None else image.folders.get(folder, folder)
    words = [*(wished.get("EntryPoint") or image.entrypoint), *(wished.get("Command") or ())]
    return [
        *_exports({key: value for key, value in image.env.items() if key not in own}),
        f"cd {shlex.quote(folder or '/')}",
        f"exec {shlex.join(words)}",
    ]


def _of_package(config, package):
    """The program that starts Lambda's client on a function's package and layers."""
    code = Path(lambda_svc._provided_runtime_code_dir(package))
    opt = _layers_folder(
        [zipped for ref in config.get("Layers") or [] if (zipped := lambda_svc._resolve_layer_zip(ref))]
    )
    name = config.get("FunctionName", "unknown")
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "LAMBDA_TASK_ROOT": str(code),
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": f"{code}:{code}/lib:{opt}/lib",
        "PYTHONPATH": f"{code}:{opt}/python",
        "PYTHONUNBUFFERED": "1",
        "TZ": ":UTC",
    }
    handler = config.get("Handler", "index.handler")
    return [
        *_exports(variables),
        f'export PATH="{opt}/bin:$PATH"',
        f"cd {shlex.quote(str(code))}",
        f"exec {shlex.quote(_options[0].function_python)} -m awslambdaric {shlex.quote(handler)}",
    ]


def _layers_folder(layers):
    """What /opt is on Lambda: the layers in their order, a later one over an earlier."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(layer).digest() for layer in layers)).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"layers-{digest[:32]}"
    with _layers_lock:
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(dir=folder.parent))
            for layer in layers:
                source = lambda_svc._provided_runtime_code_dir(layer)
                shutil.copytree(source, partial, copy_function=_link, dirs_exist_ok=True)
            partial.rename(folder)
    return folder


def _link(source, target):
    Path(target).unlink(missing_ok=True)
    os.link(source, target)
    return target
