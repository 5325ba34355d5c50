# shellcheck shell=bash
# Sourced by build.sh and run_docker.sh: which of cpu.env, cuda.env and mlu.env is meant.

fail() { # <message>
  echo "$(basename "$0"): error: $1" >&2
  exit 2
}

found() { # prints the settings that suit this host
  if compgen -G "$DEV/cambricon_dev*" >/dev/null; then
    echo mlu
  elif compgen -G "$DEV/nvidia[0-9]*" >/dev/null; then
    echo cuda
  else
    echo cpu
  fi
}

read_settings() { # [cpu|cuda|mlu, or a device as run names spell it]
  local kind=${1:-}
  DEV=${DEV:-/dev}
  kind=${kind:-$(found)}
  kind=${kind,,}
  [[ $kind != gpu ]] || kind=cuda
  case $kind in
  cpu | cuda | mlu) ;;
  *) fail "'$kind' is not a device; there are cpu, cuda and mlu" ;;
  esac
  settings=$ROOT/docker/$kind.env
  # shellcheck source=cpu.env
  source "$settings"
}
