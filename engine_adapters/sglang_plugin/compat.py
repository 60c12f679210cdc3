"""All that depends on SGLang's version: which releases we know, what we hook, and whether it still looks as we wrap it.

SGLang logs a plugin that fails and goes on, so nobody would notice: we check ourselves before hooking anything, and
answer what we found under /scalesim/v1/capabilities.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
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
    "sglang.srt.managers.scheduler:Scheduler.get_next_batch_to_run": ("self", "running_batch", "last_batch"),
    "sglang.srt.managers.scheduler:Scheduler._add_request_to_queue": ("self", "req", "is_retracted"),
    "sglang.srt.managers.scheduler:Scheduler.maybe_sleep_on_idle": ("self",),
    "sglang.srt.managers.scheduler:Scheduler.send_control_output": ("self", "output", "recv_req"),
    "sglang.srt.managers.schedule_policy:SchedulePolicy.calc_priority": (
        "self",
        "waiting_queue",
        "running_batch",
        "processed_tokens",
    ),
    "sglang.srt.managers.io_struct:hook_custom_types": ("new_types",),
}
"""Name -> parameters, as wrapped or called in the scheduler process."""

HOST_TIER_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache.load_back": (
        "self",
        "node_id",
        "mem_quota",
        "req",
    ),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache.ready_to_load_host_cache": ("self",),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache._apply_cache_action": ("self", "action"),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache.loading_check": ("self", "finish_count"),
    "sglang.srt.managers.cache_controller:LayerDoneCounter.update_producer": ("self",),
    "sglang.srt.managers.cache_controller:LayerDoneCounter.wait_until": ("self", "threshold"),
    "sglang.srt.managers.tp_worker:TpModelWorker.set_hicache_consumer": ("self", "consumer_index"),
}
"""What loads of prefixes ahead of calls rest on."""

ADAPTER_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.managers.scheduler:Scheduler.can_schedule_lora_req": ("self", "req", "running_loras"),
    "sglang.srt.lora.lora_manager:LoRAManager.fetch_new_loras": ("self", "new_loras", "running_loras"),
    "sglang.srt.lora.lora_overlap_loader:LoRAOverlapLoader.try_overlap_load_lora": (
        "self",
        "lora_id",
        "running_loras",
    ),
    "sglang.srt.lora.lora:LoRAAdapter.pin_weights_in_cpu": ("self",),
    "sglang.srt.lora.eviction_policy:EvictionPolicy.mark_used": ("self", "uid"),
    "sglang.srt.lora.eviction_policy:EvictionPolicy.select_victim": ("self", "candidates"),
    "sglang.srt.lora.eviction_policy:EvictionPolicy.remove": ("self", "uid"),
}
"""What loads of adapters ahead of calls rest on."""

SCHEDULER_HOOKS = {**CACHE_HOOKS, **HOST_TIER_HOOKS, **ADAPTER_HOOKS}

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
"""Steps that are timed."""

METER_LOAD_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.lora.lora_manager:LoRAManager.fetch_new_loras": ("self", "new_loras", "running_loras"),
    "sglang.srt.mem_cache.unified_radix_cache:UnifiedRadixCache.ready_to_load_host_cache": ("self",),
    "sglang.srt.managers.cache_controller:LayerDoneCounter.wait_until": ("self", "threshold"),
}
"""What is timed as load, inside of steps or between them."""

METER_QUEUE_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.managers.scheduler:Scheduler.get_next_batch_to_run": ("self", "running_batch", "last_batch"),
    "sglang.srt.managers.scheduler:Scheduler._add_request_to_queue": ("self", "req", "is_retracted"),
}
"""Where calls are planned and where they come in, in this order."""

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
LINK_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.mem_cache.l2_transfer:L2TransferEngine.__init__": ("self", "io_backend"),
    "sglang.srt.lora.lora_overlap_loader:LoRAOverlapLoader.__init__": ("self", "lora_manager"),
    "sglang.srt.mem_cache.pool_host.mha:MHATokenToKVPoolHost.load_to_device_per_layer": (
        "self",
        "device_pool",
        "host_indices",
        "device_indices",
        "layer_id",
        "io_backend",
        "is_draft",
    ),
    "sglang.srt.lora.mem_pool:LoRAMemoryPool.load_lora_weight_to_buffer": (
        "self",
        "uid",
        "buffer_id",
        "lora_adapter",
        "lora_modules",
        "lora_embed_tokens_module",
        "lora_lm_head_module",
    ),
}
"""Where the emulated host link is charged."""

CPU_HOOKS: dict[str, tuple[str, ...]] = {
    "sglang.srt.layers.attention.torch_native_backend:TorchNativeAttnBackend._run_sdpa_forward_extend": (
        *_ATTENTION, "extend_prefix_lens", "extend_seq_lens", *_ATTENTION_OPTIONS,
    ),
    "sglang.srt.layers.attention.torch_native_backend:TorchNativeAttnBackend._run_sdpa_forward_decode": (
        *_ATTENTION, *_ATTENTION_OPTIONS,
    ),
}  # fmt: skip


def broken_facts() -> list[str]:
    """What our use of the host tier rests on besides names and signatures, and does not hold; one sentence each.

    A batch that waits for no copy says -1; a controller has at least three event slots (calls use two, we one); all
    copies to the device go over one stream, so that who waits for a later one has waited for the earlier ones.
    """
    from sglang.srt.managers.cache_controller import HiCacheController, LayerDoneCounter
    from sglang.srt.managers.schedule_batch import ScheduleBatch

    found = []
    default = {field.name: field.default for field in fields(ScheduleBatch)}.get("hicache_consumer_index")
    if default != -1:
        found.append(f"a batch that waits for no copy says {default!r}, not -1")
    if (slots := LayerDoneCounter(1).num_counters) < 3:
        found.append(f"there are {slots} event slots for copies to the device, fewer than 3")
    if inspect.getsource(HiCacheController.start_loading).count("submit_host_to_device(") != 1:
        found.append("copies to the device are not submitted in one place")
    return found


def engine_version() -> str:
    return _version_of("sglang")


def plugin_version() -> str:
    return _version_of("scalesim-sglang-plugin")


def _version_of(package: str) -> str:
    try:
        return version(package)
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
