#!/bin/sh
# Prints the folder that has prometheus and promtool: the machine's, or Debian's package, which is
# unpacked beside us and not installed: that would start a service and leave an account behind.
set -e
cd "$(dirname "$0")/../.."
place=$PWD/.parley-build/prometheus
found=$(command -v prometheus || true)
if [ -n "$found" ] && command -v promtool >/dev/null; then
  dirname "$found"
  exit 0
fi
if [ ! -x "$place/usr/bin/promtool" ]; then
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "Prometheus is needed: put prometheus and promtool on the PATH" >&2
    exit 1
  fi
  echo "Fetching Prometheus" >&2
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  # From a folder of its own: apt-get puts the package where it is called.
  (cd "$scratch" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; }) \
    >/dev/null 2>&1 || { echo "Debian's package prometheus can't be had here; put prometheus and promtool on the PATH" >&2; exit 1; }
  mkdir -p "$place"
  dpkg -x "$scratch"/prometheus_*.deb "$place"
fi
echo "$place/usr/bin"
