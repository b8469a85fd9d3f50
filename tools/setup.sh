#!/usr/bin/env bash
# Make .venv: every package at its pinned version, the checkout installed editable, two kernels to test on.
#
#   tools/setup.sh               what `make setup` runs; does nothing when nothing changed
#   tools/setup.sh browser       Debian's Chromium and a font as well, where they are missing (what `make test` needs)
#   tools/setup.sh peers         other scanners in .venv/peers, for `make bench`
#   tools/setup.sh fuzz          atheris, for `make fuzz`
#
# PYTHON                 the interpreter to start from (default: the first of python3, python3.13, 3.12, 3.11 that is 3.11+)
# NBGUARD_TORCH_PIP_ARGS more arguments for the one `pip install torch==…`, such as an index of CPU builds
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
kernel6=6.29.5

say() { printf '%s\n' "setup: $*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo "$@"; else return 1; fi
}

debian() {  # debian PACKAGE…: install what is missing, by Debian's own tool; false where that cannot be done
  command -v apt-get >/dev/null 2>&1 || return 1
  export DEBIAN_FRONTEND=noninteractive
  local try
  for try in 1 2 3; do
    if as_root apt-get update -q </dev/null >&2 &&
       as_root apt-get install -q -y --no-install-recommends "$@" </dev/null >&2; then
      return 0
    fi
    say "apt-get did not succeed (try $try of 3)"
    sleep $((try * 5))
  done
  return 1
}

python_found=
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python_found=$candidate
      return 0
    fi
  done
  die "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3"
}

digest() { cat "$@" | "$venv/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }

pip_install() {  # pip_install PYTHON ARGUMENTS…: with patience for a slow network
  local python=$1 try
  shift
  for try in 1 2 3; do
    if "$python" -m pip --disable-pip-version-check install -qq --retries 5 --timeout 60 --no-input "$@" </dev/null; then
      return 0
    fi
    say "pip did not succeed (try $try of 3)"
    sleep $((try * 5))
  done
  return 1
}

make_venv() {
  if [ -f "$venv/bin/activate" ] && ! grep -qF "$venv" "$venv/bin/activate"; then
    die ".venv was made in another folder and does not work here: remove it, then run this again"
  fi
  [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return 0
  find_python
  say "creating .venv with $("$python_found" --version)"
  if ! "$python_found" -m venv "$venv" >&2; then
    say "this Python has no ensurepip; asking Debian for python3-venv"
    debian python3-venv || die "python3-venv is missing: install it, then run this again"
    "$python_found" -m venv --clear "$venv" >&2
  fi
}

install_packages() {
  local stamp=$venv/.nbguard-packages want
  want=$(digest requirements/torch.txt requirements/runtime.txt requirements/dev.txt requirements/alone.txt tools/setup.sh)
  [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
  rm -f "$stamp"
  say "installing PyTorch (CPU)"
  # shellcheck disable=SC2086  # several words on purpose
  pip_install "$venv/bin/python" -r requirements/torch.txt ${NBGUARD_TORCH_PIP_ARGS:-} || die "PyTorch could not be installed"
  say "installing the pinned packages"
  pip_install "$venv/bin/python" -r requirements/torch.txt -r requirements/runtime.txt -r requirements/dev.txt ||
    die "the packages could not be installed"
  pip_install "$venv/bin/python" --no-deps -r requirements/alone.txt || die "the packages could not be installed"
  install_kernel6
  echo "$want" >"$stamp"
}

install_kernel6() {  # ipykernel 6 beside the newer one: its own folder, found through PYTHONPATH of its kernelspec
  local folder=$venv/kernels/ipykernel-$kernel6 spec=$venv/share/jupyter/kernels/nbguard-ipykernel6
  if [ ! -d "$folder/ipykernel" ]; then
    say "installing ipykernel $kernel6 beside it"
    mkdir -p "$venv/kernels"
    pip_install "$venv/bin/python" --no-deps --target "$folder" "ipykernel==$kernel6" || die "ipykernel $kernel6 could not be installed"
  fi
  mkdir -p "$spec"
  "$venv/bin/python" - "$venv/bin/python" "$folder" "$spec/kernel.json" <<'PY'
import json, sys
python, folder, out = sys.argv[1:]
spec = {
    "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel 6)",
    "language": "python",
    "env": {"PYTHONPATH": folder},
}
with open(out, "w", encoding="utf-8") as handle:
    json.dump(spec, handle, indent=1)
PY
}

install_checkout() {
  local stamp=$venv/.nbguard-checkout want
  want="$(digest pyproject.toml) $root"
  # The scanning worker may not write files, so what it imports has to be compiled before.
  "$venv/bin/python" -m compileall -q nbguard
  [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && [ -x "$venv/bin/nbguard" ] && return 0
  say "installing the checkout"
  pip_install "$venv/bin/python" --no-deps --no-build-isolation --editable . || die "the checkout could not be installed"
  echo "$want" >"$stamp"
}

browser() {
  local packages=()
  command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || packages+=(chromium)
  if command -v dpkg >/dev/null 2>&1; then dpkg -s fonts-dejavu-core >/dev/null 2>&1 || packages+=(fonts-dejavu-core); fi
  [ ${#packages[@]} = 0 ] && return 0
  say "installing ${packages[*]} from Debian's packages"
  debian "${packages[@]}" || die "the browser tests need: ${packages[*]}"
}

peers() {
  local folder=$venv/peers want
  want=$(digest requirements/peers.txt)
  [ "$(cat "$folder/.nbguard-packages" 2>/dev/null)" = "$want" ] && return 0
  say "installing other scanners to compare with"
  "$venv/bin/python" -m venv "$folder" >&2
  pip_install "$folder/bin/python" -r requirements/peers.txt || die "the other scanners could not be installed"
  echo "$want" >"$folder/.nbguard-packages"
}

fuzz() {
  "$venv/bin/python" -c 'import atheris' 2>/dev/null && return 0
  say "installing atheris to fuzz with"
  pip_install "$venv/bin/python" -r requirements/fuzz.txt || die "atheris could not be installed"
}

mkdir -p "$venv"
if command -v flock >/dev/null 2>&1; then  # two commands at once take turns
  exec 9>"$venv/.nbguard-lock"
  flock 9
fi
make_venv
install_packages
install_checkout
for part in "$@"; do
  case $part in
    browser) browser ;;
    peers) peers ;;
    fuzz) fuzz ;;
    *) die "unknown part: $part" ;;
  esac
done
