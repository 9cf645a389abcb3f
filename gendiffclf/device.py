"""Where tensors live and in which precision: resolved once, in `fit`, and again after unpickling."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .validation import check_choice

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

DEVICES = "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"
PRECISIONS = ("auto", "float32", "bfloat16", "float64")


def resolve_device(device: str | torch.device) -> torch.device:
    """
    Turn a device's name into a device that exists.

    A process of a launched group (`torchrun`, say) gets a CUDA device of its own for `"auto"` and `"cuda"`: the current one, if
    it has set one, else that of its number on the machine, `LOCAL_RANK`.

    `"auto"` takes the first there is of cuda, mps, cpu; anything else is what `torch.device` accepts. A ValueError if the name is
    unknown, or the device is not there.
    """
    import torch

    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return _own_cuda_device()
        return torch.device("mps" if torch.backends.mps.is_available() and process_count() == 1 else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"Got device={device!r}, expected {DEVICES}.") from error
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(resolved.type, True):
        raise ValueError(f"Got device={device!r}, but this machine has no {resolved.type}; use device='auto' or 'cpu'.")
    if resolved.type == "cuda" and (resolved.index or 0) >= (count := torch.cuda.device_count()):
        raise ValueError(f"Got device={device!r}, but this machine has {count} CUDA device(s); use a lower number.")
    return _own_cuda_device() if resolved == torch.device("cuda") else resolved


def process_count() -> int:
    """How many processes torch's default process group has; 1 without one."""
    from torch import distributed

    return distributed.get_world_size() if in_process_group() else 1


def in_process_group() -> bool:
    """Whether torch has a default process group."""
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def _own_cuda_device() -> torch.device:
    """The current device, or in a process group one that the other processes of the machine do not take."""
    import torch

    if process_count() == 1:
        return torch.device("cuda")
    number = torch.cuda.current_device()
    if number == 0:  # as it is where nobody chose
        number = int(os.environ.get("LOCAL_RANK") or torch.distributed.get_rank()) % torch.cuda.device_count()
    return torch.device("cuda", number)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """
    Turn a precision's name into the dtype of the matrix products in training.

    `"auto"` is bfloat16 on CUDA devices and processors with units for it, and float32 elsewhere. Master weights,
    normalisation, loss and prediction stay in float32 (float64 with `"float64"`).
    """
    import torch

    check_choice("precision", precision, PRECISIONS)
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            # Older releases do not tell; there float32 is always right.
            able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
            fast = device.type == "cpu" and (able.get("avx512_bf16", False) or able.get("amx_bf16", False))
        return torch.bfloat16 if fast else torch.float32
    return getattr(torch, precision)


def exact_dtype(device: torch.device) -> torch.dtype:
    """Float64, but float32 on MPS, which has no float64."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def high_precision(x: torch.Tensor) -> torch.Tensor:
    """A tensor in the dtype of `exact_dtype`."""
    return x.to(exact_dtype(x.device))


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device (or the host, while allocating a tensor) ran out of memory."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)


@contextlib.contextmanager
def thread_limit(n_threads: int) -> Iterator[None]:
    """Run with `n_threads` intra-op threads, and give the caller's number back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(function: Callable[[T], object], items: Sequence[T]) -> None:
    """Call a function for every item, in as many threads as torch uses; it should spend its time in NumPy."""
    import torch

    if len(items) < 2 or torch.get_num_threads() < 2:
        for item in items:
            function(item)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(function, items))


@functools.cache
def mkl_holds_back() -> bool:
    """
    Whether oneDNN's float32 products are about twice as fast as those that torch takes from MKL on this processor.

    MKL does not use AVX-512 on processors of other makers than its own; oneDNN, which torch brings along for convolutions, does.
    """
    import torch

    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and "GenuineIntel" not in _maker()
    )


def _maker() -> str:
    """Text that names the maker of the processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return platform.processor()
