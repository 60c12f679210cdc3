"""The page that people look at: its files, and what it is shown.

`assets` are the files, as they are; `field`, `patch`, `actions` and `meter` make what it is shown out of what the core knows. All of it is
pure; the feed that sends it is `admin/live.py`.
"""
