#!/bin/sh
# Makes images from Debian's packages, for machines that reach a Debian mirror but no image registry:
#   deploy/base-image.sh localhost/scalesim-python:3.11-small                        Python, below the proxy and the engine
#   deploy/base-image.sh localhost/scalesim-redis:debian redis-server                in place of Valkey
#   deploy/base-image.sh localhost/scalesim-prometheus:debian prometheus
#   PYTHON_IMAGE=localhost/scalesim-python:3.11-small podman-compose up --build
# Needs root, debootstrap and podman. An image of that name is kept.
set -eu
name=$1
shift
if podman image exists "$name"; then
    exit 0
fi
packages=$(echo ca-certificates "${@:-python3 python3-venv}" | tr ' ' ',')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include="$packages" bookworm "$work/root" >&2
# What only says how packages came here, or is read by people.
cd "$work/root"
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/info/* usr/share/locale/*
tar -c . | podman import - "$name"
