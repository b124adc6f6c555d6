#!/usr/bin/env bash
# What a newcomer meets: a bare Debian 12 with git, ca-certificates and sudo and nothing else, a 64 MB
# /dev/shm, a clone of HEAD, and the README's commands. Needs root and debootstrap.
#
#   tools/acceptance.sh [CASE…] [-- COMMAND…]    CASE: root, user (with sudo), core (root, one core)
#                                                COMMAND: of ./dev; default run and test
#
# Network settings of this system go along: apt's sources of Debian and its proxies, pip's configuration
# with the local folders that it names, certificates. Every mount is made in a mount namespace that only the
# chroot's processes see, so what is removed at the end can reach nothing outside its own folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
checkout=$PWD
carried=(http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR
  REQUESTS_CA_BUNDLE CURL_CA_BUNDLE "${!PIP_@}")

fail() {
  echo "acceptance: $*" >&2
  exit 1
}

make_base() {  # FOLDER: the bare system, made once
  local mirror
  mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
    head -n 1 || true)
  debootstrap --variant=minbase --include=ca-certificates,git,sudo bookworm "$1" \
    "${mirror:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" && fail "debootstrap failed"; }
  useradd --root "$1" --create-home --shell /bin/bash newcomer
  echo 'newcomer ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/newcomer"
  echo "Defaults env_keep += \"${carried[*]}\"" >>"$1/etc/sudoers.d/newcomer"
  carry_settings "$1"
}

carry_settings() {
  local base=$1 file home
  # The base's own links are absolute: what stands there goes first, or cp would write through them.
  cp -L --remove-destination /etc/resolv.conf /etc/hosts "$base/etc/"
  rm -rf "$base/etc/ssl/certs"
  cp -rL /etc/ssl/certs "$base/etc/ssl/certs"
  if [[ -d /usr/local/share/ca-certificates ]]; then
    cp -r /usr/local/share/ca-certificates "$base/usr/local/share/"
  fi
  apt-config dump | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv)[^ ]* "' \
    >"$base/etc/apt/apt.conf.d/90acceptance" || true
  # Sources of the same Debian, with the keys that they are signed by.
  if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
      [[ -f $file ]] && grep -qE '://[^ ]+/debian(-security)?/?( |$)' "$file" || continue
      rm -f "$base/etc/apt/sources.list"
      cp "$file" "$base/etc/apt/sources.list.d/"
    done
    cp -n /usr/share/keyrings/debian-archive-* "$base/usr/share/keyrings/"
  fi
  [[ -f /etc/pip.conf ]] && cp /etc/pip.conf "$base/etc/pip.conf"
  for home in root home/newcomer; do
    [[ -d ~/.config/pip ]] || continue
    mkdir -p "$base/$home/.config"
    cp -r ~/.config/pip "$base/$home/.config/"
    chown -R --reference="$base/$home" "$base/$home/.config"
  done
}

# The folders of this system that pip's settings name; an index of links needs the files beside it.
local_folders() {
  local word
  for word in $(cat /etc/pip.conf ~/.config/pip/pip.conf 2>/dev/null) ${PIP_FIND_LINKS:-} \
    ${PIP_INDEX_URL:-} ${PIP_EXTRA_INDEX_URL:-}; do
    word=${word#file://}
    [[ $word == /* && -d $word ]] || continue
    [[ $word == */simple ]] && word=${word%/simple}
    echo "$word"
  done | sort -u
}

# In the private namespaces: mounts, and the commands one after the other.
inside() {
  local tree=$1 case=$2 place folder node command start us status=0
  shift 2
  mount -t proc proc "$tree/proc"
  mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
  for node in null zero full random urandom tty; do
    touch "$tree/dev/$node"
    mount --bind "/dev/$node" "$tree/dev/$node"
  done
  ln -s /proc/self/fd "$tree/dev/fd"
  ln -s fd/0 "$tree/dev/stdin"
  ln -s fd/1 "$tree/dev/stdout"
  ln -s fd/2 "$tree/dev/stderr"
  mkdir "$tree/dev/shm" "$tree/dev/pts"
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$tree/dev/pts"
  ln -s pts/ptmx "$tree/dev/ptmx"
  mount -t tmpfs -o size=64m,mode=1777 tmpfs "$tree/dev/shm"
  while IFS= read -r folder; do
    mkdir -p "$tree$folder"
    mount --bind -o ro "$folder" "$tree$folder"
  done < <(local_folders)

  place=/root/instep
  local -a enter=(chroot)
  [[ $case == user ]] && place=/home/newcomer/instep && enter+=(--userspec=newcomer:newcomer)
  [[ $case == core ]] && enter=(taskset -c "$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')" chroot)
  local -a settings=("HOME=${place%/instep}" PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
  for command in "${carried[@]}"; do
    [[ -n ${!command:-} ]] && settings+=("$command=${!command}")
  done
  for command in "$@"; do
    start=${EPOCHREALTIME/[.,]/}
    "${enter[@]}" "$tree" env -i "${settings[@]}" bash -c "cd $place && exec ./dev $command" \
      </dev/null || status=$?
    us=$((${EPOCHREALTIME/[.,]/} - start))
    printf '%s: ./dev %s: %d s, exit status %d\n' "$case" "$command" $((us / 1000000)) $status |
      tee -a "$work/times"
    ((status == 0)) || return $status
  done
}

run_case() {  # CASE COMMAND…
  local case=$1 tree=$work/$1 home
  home=$tree/root
  [[ $case == user ]] && home=$tree/home/newcomer
  cp -a "$work/base" "$tree"
  git clone --quiet --depth 1 "file://$checkout" "$home/instep"
  chown -R --reference="$home" "$home/instep"
  # Leaving the namespaces ends every process and every mount in them.
  work=$work unshare --mount --propagation private --pid --fork --kill-child \
    "$checkout/tools/acceptance.sh" --inside "$tree" "$@" || failed+=("$case")
  rm -rf --one-file-system "$tree"
}

if [[ ${1:-} == --inside ]]; then
  shift
  inside "$@"
  exit
fi

cases=()
while (($# > 0)) && [[ $1 != -- ]]; do
  case $1 in
    root | user | core) cases+=("$1") ;;
    *) fail "no case '$1'; there are root, user and core" ;;
  esac
  shift
done
(($# > 0)) && shift
commands=("$@")
((${#cases[@]} > 0)) || cases=(root user core)
((${#commands[@]} > 0)) || commands=(run test)
((EUID == 0)) || fail "needs root, for debootstrap and chroot"
command -v debootstrap >/dev/null || fail "needs debootstrap: apt-get install debootstrap"

work=$(mktemp -d "${TMPDIR:-/tmp}/instep-acceptance.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
failed=()
make_base "$work/base"
for case in "${cases[@]}"; do
  run_case "$case" "${commands[@]}"
done
echo
cat "$work/times"
((${#failed[@]} == 0)) || fail "failed: ${failed[*]}"
