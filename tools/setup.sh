# Sourced by ./dev, in the repository's root: installs and builds what is missing. What a part depends on
# stands in .dev/stamp-NAME once it is done, so a second call only compares. Output is in .dev/log.

torch_pin="torch==2.13.0"
# What libtorch of the CUDA wheel needs to be linked and loaded without a GPU.
cuda_pins=(nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96)
python=$root/.dev/venv/bin/python  # runs what needs tools/requirements.txt

fail() {
  echo "./dev: $*" >&2
  exit 1
}

require_system() {
  local system
  system=$(uname -sm)
  if [[ $system != "Linux x86_64" || ! -x /usr/bin/apt-get || ! -x /usr/bin/dpkg-query ]]; then
    [[ -r /etc/os-release ]] && system+=", $(. /etc/os-release && echo "${PRETTY_NAME:-}")"
    fail "instep is built on Debian 12, Ubuntu 24.04 or later, x86-64; this is $system"
  fi
  mkdir -p .dev/log
}

# done_for NAME WANTED: whether the stamp says so. stamp NAME WANTED writes it.
done_for() { [[ -f .dev/stamp-$1 && $(<".dev/stamp-$1") == "$2" ]]; }
stamp() { printf '%s\n' "$2" >".dev/stamp-$1"; }

elapsed() {  # of a start taken from EPOCHREALTIME, as seconds with one digit
  local us=$((${EPOCHREALTIME/[.,]/} - $1))
  printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

# step NAME COMMAND…: runs it and shows one line: name, time; on a terminal its newest output meanwhile.
# A step that is over at once and well shows nothing.
step() {
  local name=$1 log=.dev/log/${1// /-}.log start=${EPOCHREALTIME/[.,]/} rc=0
  shift
  { "$@" </dev/null 2>&1 9>&- | follow "$name" "$log"; } || rc=$?
  [[ -t 1 ]] && printf '\r\e[K'
  if ((rc == 0)); then
    local seconds
    seconds=$(elapsed "$start")
    [[ $seconds == 0.[0-4] ]] || printf '%-26s %6s s\n' "$name" "$seconds"
    return 0
  fi
  echo "$name failed; the last lines of $log:"
  tail -n 60 "$log"
  exit 1
}

follow() {  # NAME LOG: copies its input to the log, and to the terminal the newest line
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line" >&3
    [[ -t 1 ]] && printf '\r\e[K%-26s %s' "$1" "${line:0:52}"
  done 3>"$2"
  return 0
}

# install_packages NAME…: those that are missing.
install_packages() {
  local name state
  local -a missing=() as_root=()
  state=$(dpkg-query -W -f ' ${Package}=${db:Status-Status} ' "$@" 2>/dev/null || true)
  for name in "$@"; do
    [[ $state == *" $name=installed "* ]] || missing+=("$name")
  done
  ((${#missing[@]} > 0)) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "these packages are missing, and there is no sudo to" \
      "install them; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
    sudo -v || fail "sudo refused; as root: apt-get install ${missing[*]}"
  fi
  step "package lists" "${as_root[@]}" apt-get update
  step "${#missing[@]} packages" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install \
    --yes --no-install-recommends "${missing[@]}"
}

# Clang with libFuzzer, for ./dev fuzz alone.
need_clang() {
  lock
  install_packages clang
  install_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}

# The packages of tools/packages.txt.
need_packages() {
  local name rest wanted
  local -a packages=()
  while read -r name rest; do
    [[ -z $name || $name == "#"* ]] || packages+=("$name")
  done <tools/packages.txt
  wanted="${packages[*]} $(stat -c %Y.%s /var/lib/dpkg/status)"
  done_for packages "$wanted" && return
  install_packages "${packages[@]}"
  wanted="${packages[*]} $(stat -c %Y.%s /var/lib/dpkg/status)"
  stamp packages "$wanted"
}

# The Python packages that tools/NAME.txt pins, in the venv.
need_python() {
  local wanted
  wanted=$(<"tools/$1.txt")
  if ! done_for "$1" "$wanted"; then
    step "python $1" pip_install -r "tools/$1.txt"
    stamp "$1" "$wanted"
  fi
}

# The venv, with the tests' packages, and libtorch unless INSTEP_LIBTORCH says where one is.
need_venv() {
  local wanted folder
  wanted="$root $(readlink -f /usr/bin/python3)"
  if ! done_for venv "$wanted" || [[ ! -x $python ]]; then
    rm -rf .dev/venv .dev/stamp-libtorch .dev/stamp-requirements*
    step "python venv" /usr/bin/python3 -m venv .dev/venv
    stamp venv "$wanted"
  fi
  need_python requirements
  if [[ -n ${INSTEP_LIBTORCH:-} ]]; then
    libtorch=$INSTEP_LIBTORCH
    [[ -e $libtorch/lib/libtorch_cpu.so && -d $libtorch/include/torch ]] ||
      fail "INSTEP_LIBTORCH=$libtorch has no lib/libtorch_cpu.so or no include/torch; name the" \
        "torch folder of a wheel or an unpacked libtorch, or unset it"
    return
  fi
  if ! done_for libtorch "$torch_pin"; then
    step "libtorch" pip_install "$torch_pin"
    for folder in "$root"/.dev/venv/lib/python3.*/site-packages/torch; do
      [[ -e $folder/lib/libtorch_cuda.so ]] && step "libraries of CUDA" pip_install "${cuda_pins[@]}"
    done
    stamp libtorch "$torch_pin"
  fi
  libtorch=$(echo "$root"/.dev/venv/lib/python3.*/site-packages/torch)
}

pip_install() {
  "$python" -m pip install --no-deps --no-compile --disable-pip-version-check --progress-bar off "$@"
}

# As many compilers at once as there are CPUs for us, and 2 GB of memory for each.
jobs() {
  local key value rest path kib=2000000 n
  while read -r key value rest; do
    [[ $key == MemTotal: ]] && kib=$value && break
  done </proc/meminfo
  path=$(sed -n 's/^0:://p' /proc/self/cgroup)
  for path in "/sys/fs/cgroup$path/memory.max" /sys/fs/cgroup/memory.max \
    /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    value=max
    [[ -r $path ]] && value=$(<"$path")
    [[ $value != max ]] && ((value / 1024 < kib)) && kib=$((value / 1024))
  done
  n=$(nproc)
  ((kib / 1900000 < n)) && n=$((kib / 1900000))
  echo $((n > 0 ? n : 1))
}

# need_configured FOLDER [-DOPTION=VALUE…]: installs what is missing and configures; the lock stays held.
need_configured() {
  local folder=$1 wanted
  shift
  lock
  need_packages
  need_venv
  local -a options=(-DCMAKE_BUILD_TYPE=Release "-DINSTEP_LIBTORCH=$libtorch"
    "-DINSTEP_PYTHON=$python" "$@")
  command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  wanted="$root ${options[*]}"
  if ! done_for "$folder" "$wanted" || [[ ! -f $folder/build.ninja ]]; then
    step "configure $folder" cmake --fresh -S . -B "$folder" -G Ninja "${options[@]}"
    stamp "$folder" "$wanted"
  fi
}

# need_build FOLDER [-DOPTION=VALUE…]: builds there, too.
need_build() {
  need_configured "$@"
  compile "$1"
}

# compile FOLDER [TARGET]: what is configured, and lets the lock go.
compile() {
  step "compile $1" ninja -C "$1" -j "$(jobs)" "${@:2}"
  unlock
}

# Two calls at once would install and build over each other: the second waits for the first. Who has the
# lock keeps it.
lock() {
  [[ -n ${locked:-} ]] && return
  exec 9>.dev/lock
  flock --nonblock 9 || { echo "waiting for another ./dev in this folder" && flock 9; }
  locked=yes
}
unlock() { exec 9>&- && locked=; }

# The thread sanitizer of GCC 12 aborts where the kernel randomises more address bits than it knows:
# start again without randomisation, which the programs that the build runs need too.
fixed_addresses() {
  [[ -z ${INSTEP_FIXED_ADDRESSES:-} ]] && setarch -R true 2>/dev/null || return 0
  INSTEP_FIXED_ADDRESSES=1 exec setarch -R ./dev "$@"
}
