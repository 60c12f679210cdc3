"""Stand-in for torchvision, which has no wheel for this CPU build of torch. SGLang imports it for image processors;
serving text never calls it.
"""

__version__ = "0.0.0"
