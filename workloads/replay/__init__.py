"""Plays simulations in virtual time: the proxy's own core and placement, against a model of engines on GPUs.

`clock` is the time; `profiles` and `costs` say what an engine's work takes; `paths`, `cache`, `slots`, `rules` are its memory,
`link` and `ahead` what moves there, `engine` its batches; `proxy` is what the proxy does between its core and engines; `work` is
what is asked of them; `player` asks it; `results` says what came of it.
"""
