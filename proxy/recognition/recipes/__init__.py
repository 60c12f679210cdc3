"""Recipes: what a framework's requests look like, and where in them it says who calls. One TOML file a framework.

`recipe` what a file may say, `patterns` the regular expressions in it, `reading` what a recipe finds in a request, `choosing` which
recipe a request belongs to, `shelf` the folders they come from, `trial` what they would find in a recording.
"""
