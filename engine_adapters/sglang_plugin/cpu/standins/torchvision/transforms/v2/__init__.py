from torchvision._lazy import lazy

from .. import InterpolationMode as InterpolationMode
from . import functional as functional

__getattr__ = lazy(__name__)
