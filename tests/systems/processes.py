"""Processes of their own for tests, forked from one that has imported the Trainer, which takes seconds, once."""

import atexit
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["transformers.trainer", "accelerate", "gendiffclf.systems.training"])


def run_apart(task: Callable[..., object], *arguments: Any, n_processes: int = 1) -> list[int | None]:
    """
    Call a function in another process, or in all processes of a group as torchrun would launch it.

    Returns
    -------
    exit_codes : list of int
        Of each process; negative for one that a signal ended.

    Raises
    ------
    AssertionError
        If the function raised in a process, with the traceback.
    """
    errors = CONTEXT.SimpleQueue()
    group = {} if n_processes == 1 else {"WORLD_SIZE": n_processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port()}
    processes = []
    for rank in range(n_processes):
        variables = {**group, "RANK": rank, "LOCAL_RANK": rank} if group else {}
        processes.append(CONTEXT.Process(target=_work, args=(task, arguments, variables, errors)))
        processes[-1].start()
    for process in processes:
        process.join(timeout=120)
        process.kill()
        process.join()
    assert errors.empty(), errors.get()
    return [process.exitcode for process in processes]


def _work(task: Callable[..., object], arguments: tuple[Any, ...], variables: dict[str, Any], errors: Any) -> None:
    os.environ.update({name: str(value) for name, value in variables.items()}, CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    try:
        task(*arguments)
        atexit._run_exitfuncs()  # which multiprocessing leaves out
        assert not torch.distributed.is_initialized(), "a group left to the end of the process can abort it"
    except BaseException:
        errors.put(traceback.format_exc())
        raise


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
