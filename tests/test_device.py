"""Where tensors live and in which precision."""

import pytest
import torch

from gendiffclf import device as device_module
from gendiffclf.device import out_of_memory, resolve_device, resolve_precision, thread_limit


@pytest.fixture
def machine(monkeypatch):
    """A function that pretends which accelerators there are."""

    def pretend(*, cuda: int = 0, mps: bool = False, bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("accelerators", "device"),
    [({"cuda": 1, "mps": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu")],
)
def test_auto_takes_the_best_there_is(machine, accelerators, device):
    machine(**accelerators)
    assert resolve_device("auto") == torch.device(device)


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("current", "local_rank", "expected"),
    [(0, "1", "cuda:1"), (0, "0", "cuda:0"), (2, "1", "cuda:2"), (0, "5", "cuda:1"), (0, None, "cuda:3")],
)
def test_each_process_of_a_group_gets_a_device_of_its_own(machine, monkeypatch, name, current, local_rank, expected):
    """The current one if it has set it, else that of its number on the machine, or in the group."""
    machine(cuda=4, mps=True)
    monkeypatch.setattr(device_module, "process_count", lambda: 8)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 7)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    if local_rank is None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    else:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert resolve_device(name) == torch.device(expected)
    assert resolve_device("cuda:3") == torch.device("cuda:3")


def test_auto_is_the_processor_for_a_group_without_cuda(machine, monkeypatch):
    machine(mps=True)
    monkeypatch.setattr(device_module, "process_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cpu")


def test_a_named_device_is_taken(machine):
    machine(cuda=2)
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


def test_a_device_that_is_not_there(machine):
    machine()
    for name in ("cuda", "mps"):
        with pytest.raises(
            ValueError, match=rf"Got device='{name}', but this machine has no {name}; use device='auto' or 'cpu'\."
        ):
            resolve_device(name)
    machine(cuda=1)
    with pytest.raises(
        ValueError, match=r"Got device='cuda:3', but this machine has 1 CUDA device\(s\); use a lower number\."
    ):
        resolve_device("cuda:3")


@pytest.mark.parametrize("name", ["gpu", "", None, 1.5])
def test_no_name_of_a_device(name):
    with pytest.raises(ValueError, match=rf"Got device={name!r}, expected 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'\."):
        resolve_device(name)


def test_precision(machine):
    machine(cuda=1, bf16=True)
    assert resolve_precision("auto", torch.device("cuda")) is torch.bfloat16
    assert resolve_precision("float32", torch.device("cuda")) is torch.float32
    assert resolve_precision("float64", torch.device("cpu")) is torch.float64
    assert resolve_precision("bfloat16", torch.device("cpu")) is torch.bfloat16
    assert resolve_precision("auto", torch.device("mps")) is torch.float32
    machine(cuda=1)
    assert resolve_precision("auto", torch.device("cuda")) is torch.float32
    with pytest.raises(
        ValueError, match=r"Got precision='half', expected one of 'auto', 'float32', 'bfloat16', 'float64'\."
    ):
        resolve_precision("half", torch.device("cpu"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("expected"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, expected):
    assert out_of_memory(error) is expected


def test_a_real_failure_to_allocate_is_recognised():
    with pytest.raises(RuntimeError) as failure:
        torch.empty(2**60)
    assert out_of_memory(failure.value)


def test_a_thread_limit_is_given_back():
    before = torch.get_num_threads()
    with thread_limit(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("capability", "maker", "expected"),
    [
        ("AVX512", "vendor_id\t: AuthenticAMD", True),
        ("AVX512", "vendor_id\t: GenuineIntel", False),
        ("AVX2", "vendor_id\t: AuthenticAMD", False),
        ("DEFAULT", "", False),
    ],
)
def test_where_mkl_holds_back(capability, maker, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(device_module, "_maker", lambda: maker)
    assert device_module.mkl_holds_back.__wrapped__() is expected
