#!/bin/sh
# Make the files of docker/compose.yaml that are secret, those that are missing: sh docker/secrets.sh
# The Nomad token, where your Nomad has ACLs, you write yourself into nomad_token.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
made() { [ -s "$folder/$1" ]; }
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
made postgres_password || random 24 > "$folder/postgres_password"
made secret_key || head -c 32 /dev/urandom | base64 > "$folder/secret_key"
made store_url || printf 'postgresql://ai4papi:%s@postgres/ai4papi\n' "$(cat "$folder/postgres_password")" > "$folder/store_url"
[ -e "$folder/nomad_token" ] || : > "$folder/nomad_token"
# The platform runs as 10001; PostgreSQL's image reads its password as root.
if [ "$(id -u)" = 0 ]; then chown 10001 "$folder/store_url" "$folder/nomad_token" "$folder/secret_key"; fi
