"""A calibration in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .calibrate import Calibration


def said(found: Calibration) -> Iterator[str]:
    profile = found.profile
    yield (
        f"prefill: {_ms(profile.prefill_step_s)} a step, {_ms(profile.prefill_call_s)} a prompt,"
        f" {_us(profile.prefill_token_s)} a token, {_us(1000 * profile.attended_token_s)} for a thousand before each"
        f" (of what it was fitted to, {_share(found.prefill_error)} off on average)"
    )
    yield (
        f"decoding: {_ms(profile.decode_step_s)} a step, {_ms(profile.decode_call_s)} a call,"
        f" {_us(1000 * profile.context_token_s)} for a thousand tokens that they hold ({_share(found.decode_error)} off)"
    )
    yield f"around a call: {_ms(profile.front_s)} before its first token, {_ms(profile.after_s)} after its last"
    if found.observed.from_host:
        yield (
            f"from host memory: {_ms(profile.load_overhead_s)} a load, {_us(profile.load_token_s)} a token,"
            f" in {profile.load_parts} parts"
        )
    if found.observed.adapter_s:
        yield f"an adapter: {_ms(profile.adapter_load_s)} to load"
    for note in found.notes:
        yield f"not measured: {note}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.3g} us"


def _share(error: float | None) -> str:
    return "nothing" if error is None else f"{error:.0%}"
