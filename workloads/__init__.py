"""Simulations to play against an engine or the proxy: customers over HTTP that import nothing of the proxy.

`program` says what a simulation asks for, `scenarios/` make programs, `player` plays one, `compare` plays one in several
configurations and tells what the difference is worth.
"""
