"""Traces of calls for OpenTelemetry: a span a call, joined to its client's trace before it and to its engine's spans behind it.

`attributes` says what stands in a span, `spans` makes them, `exporting` brings them to a collector. The packages of OpenTelemetry
are imported by the last two alone, so that nobody who does not trace needs them; whoever does says `from .exporting import ...`.
"""
