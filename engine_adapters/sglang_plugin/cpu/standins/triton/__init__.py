"""Stand-in for triton (286 MB to fetch, 1 GB on disk): SGLang decorates kernels with it when imported, and a CPU never
launches one. Every attribute and submodule exists; a decorator returns the function as it is.
"""

import importlib.machinery
import sys
import types

__version__ = "3.9.0"


class _Type:
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__()


class _Anything(types.ModuleType):
    def __init__(self, name):
        super().__init__(name)
        self.__path__ = []
        self.__file__ = __file__
        self.__spec__ = importlib.machinery.ModuleSpec(name, _Finder, is_package=True)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if name[:1].isupper():
            value = type(
                name, (_Type,), {"__module__": self.__name__, "__init__": lambda self, *a, **k: None}
            )
        else:
            value = sys.modules.setdefault(full, _Anything(full))
        setattr(self, name, value)
        return value

    def __call__(self, *args, **kwargs):
        if len(args) == 1 and callable(args[0]) and not kwargs:
            return args[0]
        return lambda function: function

    def __getitem__(self, key):
        return self

    def __iter__(self):
        return iter(())

    def __bool__(self):
        return False


class _Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.startswith("triton."):
            return importlib.machinery.ModuleSpec(name, cls, is_package=True)
        return None

    @classmethod
    def create_module(cls, spec):
        return sys.modules.get(spec.name) or _Anything(spec.name)

    @classmethod
    def exec_module(cls, module):
        """Nothing to run: attributes appear when they are asked for."""


sys.meta_path.insert(0, _Finder)
_anything = _Anything("triton")


def cdiv(a, b):
    return -(a // -b)


def next_power_of_2(n):
    return 1 << (n - 1).bit_length() if n > 0 else 1


class Config:
    def __init__(self, kwargs=None, **options):
        self.kwargs = kwargs or {}


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    value = getattr(_anything, name)
    globals()[name] = value
    return value
