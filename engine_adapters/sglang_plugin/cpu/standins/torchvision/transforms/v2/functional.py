from torchvision._lazy import lazy

__getattr__ = lazy(__name__)
