"""Proxies side by side, in front of one mock engine: what each adds to a call, and what a call costs it.

A customer like any other: it starts `scalesim serve` and all others as programs, and looks at them from outside.
"""
