"""Answers before hardware is bought: a simulation on machines that are only described, what holds it up there, and what else would
change. What `scalesim simulate` and `scalesim replay` play; nothing here needs a network, an engine or a terminal.
"""
