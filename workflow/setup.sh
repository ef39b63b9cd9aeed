#!/bin/sh
# Create the virtual environment if it is not ready:  sh workflow/setup.sh [VENV [PYTHON [cluster|kubernetes]]]
# It is ready if its stamp contains its location, the folder that it was made for, and the checksum of that folder's pins; file
# times are not used. Errors are one line with the remedy, and the next `make` starts over automatically.
set -u
venv=${1:-.venv}
asked=${2:-}
engine=${3:-}
bin=$venv/bin
stamp=$venv/.ready
mark=$venv/.setting-up
log=$venv/.set-up.log
here=$(pwd -P)
unfinished=
child=
LC_ALL=C
export LC_ALL

stop() {
  echo "error: set-up: $*" >&2
  exit 2
}

place() { (cd "$1" && pwd -P); }

sum_of() { cat "$@" | cksum | tr ' ' '-'; }

# A zombie process still has a pid, but is not alive.
alive() { kill -0 "$1" 2> /dev/null && ! grep -q '^State:.*Z' "/proc/$1/status" 2> /dev/null; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null; }

new_enough() { case $1 in 3.1[1-9] | 3.[2-9][0-9] | [4-9].*) true ;; *) false ;; esac }

start_over() {
  echo "set-up: $1; recreating it" >&2
  rm -rf "$venv"
}

# Remove an unfinished environment.
trap '[ -z "$unfinished" ] || rm -rf "$venv"' EXIT
trap '[ -z "$child" ] || { kill "$child" && wait "$child"; } 2> /dev/null; stop "interrupted; make again"' INT TERM HUP

# Run a command; its output is only read if it fails.
step() {
  "$@" > "$log" 2>&1 &
  child=$!
  wait "$child"
  code=$?
  child=
  [ "$code" = 0 ] && return
  reason=$(grep -v '^ *$' "$log" 2> /dev/null | tail -n 1 | cut -c 1-300)
  if [ ! -s "$log" ] || grep -Eqi 'no space left|disk quota|os error 28' "$log"; then
    df -P "$venv" 2> /dev/null | tail -n 1 | grep -q ' 100% ' && reason="no space left"
    [ -z "$reason" ] || stop "the disk is full ($reason): $venv takes a few gigabytes, and so may ~/.cache; make room, then make again"
  fi
  if grep -Eqi 'connect|name resolution|resolve host|dns error|timed out|proxy|certificate|\<50[0-9] [a-z]|versions: none' "$log"; then
    stop "the package index does not answer ($reason); check the network and the proxy, then make again"
  fi
  stop "$(basename "$1") ended with code $code (${reason:-no output}); fix that, then make again"
}

# Set $python to a Python that is new enough and can create virtual environments.
find_python() {
  tried=
  if [ -n "$asked" ]; then set -- "$asked"; else set -- python3 python3.13 python3.12 python3.11 python3.14; fi
  for python in "$@"; do
    version=$(version_of "$python") || version="not there"
    new_enough "$version" && break
    [ "$version" = "not there" ] && [ "$python" != "$1" ] || tried="$tried${tried:+, }$python is $version"
    python=
  done
  [ -n "$python" ] || stop "Python 3.11 or newer is needed ($tried); install one and name it: make PYTHON=python3.12 setup"
  can_pip "$python"
}

can_pip() {
  "$1" -c 'import ensurepip, venv' 2> /dev/null ||
    stop "$1 cannot create virtual environments; Debian and Ubuntu: apt install python3-venv (or python$(version_of "$1")-venv), then make again"
}

# Provide a virtual environment with pip: a new or an existing one.
make_venv() {
  if [ -f "$venv/pyvenv.cfg" ] && ! version=$(version_of "$bin/python"); then
    start_over "$bin/python does not run"
  fi
  if [ -d "$venv" ] && [ -n "$(ls -A "$venv")" ]; then
    version=$(version_of "$bin/python") || stop "$venv is a folder, but not a virtual environment; name a different one: make VENV=.venv"
    new_enough "$version" ||
      stop "$venv has Python $version, but 3.11 or newer is needed: rm -r $venv, then make PYTHON=python3.12 setup"
    "$bin/python" -m pip --version > /dev/null 2>&1 && return
    can_pip "$bin/python"
    step "$bin/python" -m ensurepip --upgrade
    return
  fi
  find_python
  mkdir -p "$venv" 2> /dev/null && echo "$$" > "$mark" || stop "$venv cannot be created; check the permissions and the disk"
  unfinished=yes
  step "$python" -m venv "$venv"
}

pins=$(sum_of requirements.txt pyproject.toml)
ready=
if [ -f "$stamp" ]; then
  { read -r was && read -r owner && read -r held; } < "$stamp"
  if [ "$was" != "$(place "$venv")" ] && ! [ "$was" -ef "$venv" ]; then
    start_over "$venv was moved or copied from $was, and its scripts still point there"
  elif ! new_enough "$(version_of "$bin/python")"; then
    start_over "$bin/python does not run"
  elif [ "$owner" != "$here" ] && [ -f "$owner/pyproject.toml" ] && [ "$held" != "$pins" ]; then
    stop "$venv belongs to $owner, which needs different versions from requirements.txt and pyproject.toml here; make VENV=.venv"
  elif [ "$held" = "$pins" ] && [ -f "$owner/pyproject.toml" ]; then
    ready=yes
  fi
elif [ -f "$mark" ]; then
  read -r other < "$mark"
  if [ -n "$other" ] && alive "$other"; then
    stop "process $other is creating $venv; wait for it, then make again (if it is not a make: rm -r $venv)"
  fi
  start_over "$venv is incomplete because its set-up was interrupted"
fi

if [ -z "$ready" ]; then
  echo "Setting up $venv (a few gigabytes, once) ..."
  command -v git > /dev/null || echo "note: set-up: git is not installed, so receipts will not name a commit" >&2
  make_venv
  rm -f "$venv"/.ready* "$venv"/.cluster-* "$venv"/.kubernetes-*
  step "$bin/python" -m pip install --quiet --disable-pip-version-check "uv==$(sed -n 's/^uv==//p' requirements.txt)"
  step "$bin/uv" pip install --quiet --python "$bin/python" --requirement requirements.txt
  step "$bin/uv" pip install --quiet --python "$bin/python" --no-deps --editable .
  { place "$venv" && echo "$here" && echo "$pins"; } > "$stamp.new" && mv "$stamp.new" "$stamp" || stop "$stamp cannot be written"
  unfinished=
  rm -f "$mark" "$log"
fi

# Install cluster executors only if they are used: every start of Snakemake imports all installed executors.
if [ -n "$engine" ]; then
  wanted=$(sum_of "requirements-$engine.txt")
  if [ "$(cat "$stamp-$engine" 2> /dev/null)" != "$wanted" ]; then
    step "$bin/uv" pip install --quiet --python "$bin/python" --no-deps --requirement "requirements-$engine.txt"
    echo "$wanted" > "$stamp-$engine"
    rm -f "$log"
  fi
fi
