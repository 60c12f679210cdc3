"""Classes that can be imported and named, and say what they are when used."""


def lazy(module):
    def __getattr__(name):
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(self, *args, **kwargs):
            raise RuntimeError(
                f"{module}.{name}: torchvision is an import-only stand-in here, images are not served"
            )

        return type(name, (), {"__init__": refuse, "__module__": module})

    return __getattr__
