"""Stand-in for SGLang's compiled kernels on CPUs without AMX.

SGLang's CPU engine then takes its forward_native paths, but still imports these names. One of them it does call, and
here it is in torch; the others (speculative decoding, mamba) say so if they are called.
"""

__version__ = "0.0.0+cpu.standin"


def assign_req_to_token_pool_cpu(
    req_pool_indices, req_to_token, start_offset, end_offset, out_cache_loc, pool_len
):
    """Writes each request's new cache slots into its row of `req_to_token`."""
    taken = 0
    for row, start, end in zip(
        req_pool_indices.tolist(), start_offset.tolist(), end_offset.tolist(), strict=True
    ):
        slots = out_cache_loc[taken : taken + end - start]
        req_to_token[row, start:end] = slots.to(req_to_token.dtype)
        taken += end - start


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_args, **_kwargs):
        raise NotImplementedError(f"sgl_kernel.{name} is not available on a CPU")

    missing.__name__ = name
    return missing
