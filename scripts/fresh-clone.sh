#!/usr/bin/env bash
# What a newcomer gets: HEAD in a new directory, the README's two commands, a Ctrl-C, and the tests.
# Nothing is shared with this checkout but npm's download cache. KEEP=1 leaves the clone for a look.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
clone="$(mktemp -d "${TMPDIR:-/tmp}/ctlmesh-fresh-XXXXXX")"
trap '[ -n "${KEEP:-}" ] || rm -rf "$clone"' EXIT

step() {
  echo "== $*"
  "$@"
}

# Inside `npm run`, the pinned Node of this checkout comes first on the path; a newcomer has only the system's.
PATH="$(printf '%s' "$PATH" | tr ':' '\n' | grep -v '/node_modules/' | paste -sd ':' -)"
export PATH

step git clone --quiet --no-hardlinks "$here" "$clone"
cd "$clone"
echo "== $(git log -1 --format='%h %s'), system Node $(node --version), npm $(npm --version)"
step npm ci
step npm run --silent smoke
step npm test
echo "== fresh clone: all well"
