#!/bin/sh
# Makes the secrets of the stack, in secrets/ beside compose.yaml (or in the folder that is named). What is there is kept.
#
#   proxy.toml       the proxy's settings that are secret: hashes of admin keys, and of clients' keys if you add some
#   admin_key        a key for the admin listener: for you, Prometheus and the benchmarks; the proxy sees its hash alone
#   redis_password   for the proxy; redis.acl has its hash, for Redis
#   grafana_password of Grafana's user admin
set -eu
umask 022
cd "$(dirname "$0")/.."
folder=${1:-secrets}
# Others on this machine are kept out by the folder. The files themselves are read by the users inside of the containers.
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

for name in admin_key redis_password grafana_password; do
    [ -s "$name" ] || random > "$name"
done
[ -s proxy.toml ] || cat > proxy.toml <<TOML
# Hashes of keys: \`scalesim keys new\` makes more. What each setting means: \`scalesim settings\`, docs/security.md.
admin_keys = ["sha256:$(sha256 < admin_key)"]
#[client_keys]
#ann = "sha256:..."
TOML
# The user \`health\` can ask whether Redis is there, and nothing else.
[ -s redis.acl ] || cat > redis.acl <<ACL
user default on sanitize-payload #$(sha256 < redis_password) ~* &* +@all
user health on nopass sanitize-payload resetchannels -@all +ping
ACL
ls
