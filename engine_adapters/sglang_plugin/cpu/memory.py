"""HiCache and LoRA on a torch without an accelerator: host pools without page-locking, copies by torch.

SGLang allocates host memory with pin_memory and moves KV with CUDA kernels; both die without a GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_ALLOCATORS = ("tensor", "empty", "zeros", "ones", "full", "arange", "empty_like", "zeros_like")


def install() -> None:
    import torch
    from sglang.srt.mem_cache.pool_host import common, mha

    for name in _ALLOCATORS:
        setattr(torch, name, _without_pinning(getattr(torch, name)))
    torch.Tensor.pin_memory = _as_it_is
    mha.transfer_kv_direct = _copy_between_pools
    common.ALLOC_MEMORY_FUNCS["cpu"] = _allocate


def _without_pinning(allocate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(allocate)
    def allocate_unpinned(*args: Any, pin_memory: bool = False, **kwargs: Any) -> Any:
        return allocate(*args, **kwargs)

    return allocate_unpinned


def _as_it_is(tensor: Any, *_args: Any, **_kwargs: Any) -> Any:
    return tensor


def _copy_between_pools(
    src_layers: Any, dst_layers: Any, src_indices: Any, dst_indices: Any, page_size: int
) -> None:
    for source, target in zip(src_layers, dst_layers, strict=True):
        target[dst_indices] = source[src_indices].to(target.dtype).view(-1, *target.shape[1:])


def _allocate(
    dims: Any,
    dtype: Any,
    device: Any,
    pin_memory: bool,
    allocator: Any,
    registration_granularity_bytes: int | None = None,
) -> Any:
    import torch

    return torch.empty(dims, dtype=dtype, device="cpu")
