#!/bin/sh
# Starts the Bun peer with the Bun that package.json pins: the package's own binary where npm ran its install script, the one of its
# optional package otherwise.
here=$(dirname "$(readlink -f "$0")")
for bun in "$here"/../node_modules/@oven/bun-linux-*/bin/bun "$here"/../node_modules/.bin/bun; do
  [ -x "$bun" ] && exec "$bun" "$here/server.mjs"
done
echo "no bun found: run npm ci in $(dirname "$here")" >&2
exit 1
