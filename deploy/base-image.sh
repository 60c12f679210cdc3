#!/bin/sh
# Makes a base image with Debian's Python, for machines that reach a Debian mirror but no image registry:
#   deploy/base-image.sh localhost/scalesim-python:3.11
#   PYTHON_IMAGE=localhost/scalesim-python:3.11 podman-compose up --build
# Needs root, debootstrap and podman. An image of that name is kept.
set -eu
name=$1
if podman image exists "$name"; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$work/root" >&2
tar -C "$work/root" -c . | podman import - "$name"
