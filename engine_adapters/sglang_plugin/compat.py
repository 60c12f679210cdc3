"""All that depends on SGLang's version: which releases we know, what we hook, and whether it still looks as we wrap it.

SGLang logs a plugin that fails and goes on, so nobody would notice: we check ourselves before hooking anything, and
answer what we found under /scalesim/v1/capabilities.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import PackageNotFoundError, version

KNOWN_RELEASES = ("0.5.23",)
"""Each release is read and run before it is added here."""

CACHE_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.mem_cache.registry:register_radix_cache_backend": ("name", "factory"),
    "sglang.srt.mem_cache.registry:create_unified_radix_cache": ("ctx", "cache_class"),
    "sglang.srt.mem_cache.registry:default_radix_cache_factory": ("ctx",),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache.checkpoint_into_tree": (
        "self",
        "req",
        "up_to",
        "kwargs",
    ),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache._evict": (
        "self",
        "params",
        "available_size_targets",
        "allocation_reclaim_satisfied",
    ),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache._evict_device_leaf": (
        "self",
        "node_id",
        "tracker",
    ),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache._apply_cache_actions": ("self", "actions"),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache.reset": ("self",),
    "sglang.srt.mem_cache.unified_cache.components:FullComponent.redistribute_on_node_split": (
        "self",
        "new_parent",
        "child",
    ),
    "sglang.srt.mem_cache.unified_cache.components:FullComponent._evict_device_start": (
        "self",
        "request_cnt",
    ),
    "sglang.srt.mem_cache.unified_cache.components:FullComponent._evict_device_next_node": (
        "self",
        "tracker",
        "device_frees",
        "host_frees",
        "cache_actions",
    ),
    "sglang.srt.mem_cache.unified_cache.unified_tree_core:UnifiedTreeCore._split_node": (
        "self",
        "key",
        "child",
        "split_len",
    ),
    "sglang.srt.mem_cache.unified_cache.unified_tree_core:UnifiedTreeCore.node_by_id": ("self", "node_id"),
    "sglang.srt.mem_cache.evict_policy:EvictionStrategy.get_priority": ("self", "node"),
    "sglang.srt.runtime_context:get_memory": (),
    "sglang.srt.managers.scheduler:Scheduler.init_request_dispatcher": ("self",),
    "sglang.srt.managers.io_struct:hook_custom_types": ("new_types",),
}
"""Name -> parameters, as wrapped in the scheduler process."""

CONTROL_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.managers.tokenizer_manager:TokenizerManager.init_communicators": ("self",),
    "sglang.srt.managers.tokenizer_manager:TokenizerManager._dispatch_to_scheduler": ("self", "obj"),
    "sglang.srt.managers.tokenizer_manager:TokenizerManager.auto_create_handle_loop": ("self",),
    "sglang.srt.entrypoints.http_server:_setup_and_run_http_server": (
        "server_args",
        "tokenizer_manager",
        "template_manager",
        "port_args",
        "scheduler_infos",
        "subprocess_watchdog",
        "execute_warmup_func",
        "launch_callback",
    ),
    "sglang.srt.entrypoints.http_server:get_global_state": (),
    "sglang.srt.managers.io_struct:hook_custom_types": ("new_types",),
    "sglang.srt.utils.auth:auth_level": ("level",),
    "sglang.srt.runtime_context:get_parallel": (),
}
"""The same for the HTTP process."""

METER_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.managers.scheduler:Scheduler.run_batch": ("self", "batch", "pp_proxy_tensors"),
    "sglang.srt.managers.scheduler:Scheduler.process_batch_result": ("self", "batch", "result"),
}

_ATTENTION = (
    "self", "query", "output", "k_cache", "v_cache", "req_to_token", "req_pool_indices", "seq_lens",
)  # fmt: skip
_ATTENTION_OPTIONS = (
    "encoder_lens",
    "scaling",
    "enable_gqa",
    "causal",
    "is_cross_attn",
    "sliding_window_size",
)
CPU_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.layers.attention.torch_native_backend:TorchNativeAttnBackend._run_sdpa_forward_extend": (
        *_ATTENTION, "extend_prefix_lens", "extend_seq_lens", *_ATTENTION_OPTIONS,
    ),
    "sglang.srt.layers.attention.torch_native_backend:TorchNativeAttnBackend._run_sdpa_forward_decode": (
        *_ATTENTION, *_ATTENTION_OPTIONS,
    ),
}  # fmt: skip


def engine_version() -> str:
    try:
        return version("sglang")
    except PackageNotFoundError:
        return "not installed"


def problems(hooks: dict[str, tuple[str, ...]]) -> list[str]:
    """What keeps us from wrapping these names, one sentence each; empty when all is as we know it."""
    found = []
    release = engine_version()
    if release not in KNOWN_RELEASES:
        found.append(f"SGLang {release} is not one of the known releases {', '.join(KNOWN_RELEASES)}")
    for name, expected in hooks.items():
        module_name, _, path = name.partition(":")
        try:
            target: object = importlib.import_module(module_name)
            for part in path.split("."):
                target = getattr(target, part)
        except (ImportError, AttributeError) as exc:
            found.append(f"{name} is missing ({exc})")
            continue
        if not callable(target):
            found.append(f"{name} is not a function any more")
            continue
        actual = tuple(inspect.signature(inspect.unwrap(target)).parameters)
        if actual != expected:
            found.append(f"{name} takes {actual}, not {expected}")
    return found


def hook_target(name: str) -> str:
    """The dotted name SGLang's HookRegistry wants."""
    return name.replace(":", ".")
