#include "base/machine.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "base/text.h"
#include "base/time.h"

namespace instep {
namespace {

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// A cgroup file's number, or `otherwise` where there is no limit.
std::uint64_t cgroup_number(const char* path, std::uint64_t otherwise) {
  const std::string line = first_line(path);
  if (line.empty() || line == "max") return otherwise;
  return std::strtoull(line.c_str(), nullptr, 10);
}

std::uint64_t meminfo(const std::string& key) {
  std::ifstream in("/proc/meminfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.rfind(key + ":", 0) == 0) {
      return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
    }
  }
  return 0;
}

}  // namespace

std::vector<int> usable_cpus(int process) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> out;
  if (::sched_getaffinity(process, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) out.push_back(cpu);
    }
  }
  if (out.empty()) out.push_back(0);
  return out;
}

int usable_cpu_count() {
  double limit = static_cast<double>(usable_cpus().size());
  std::istringstream quota(first_line("/sys/fs/cgroup/cpu.max"));
  std::string granted;
  double period = 0;
  if (quota >> granted >> period && granted != "max" && period > 0) {
    limit = std::min(limit, std::strtod(granted.c_str(), nullptr) / period);
  }
  return std::max(1, static_cast<int>(std::floor(limit + 0.01)));
}

bool pin_to(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

std::uint64_t available_memory() {
  const std::uint64_t free = meminfo("MemAvailable");
  const std::uint64_t most = cgroup_number("/sys/fs/cgroup/memory.max", ~0ULL);
  if (most == ~0ULL) return free;
  const std::uint64_t used = cgroup_number("/sys/fs/cgroup/memory.current", 0);
  return std::min(free, most > used ? most - used : 0);
}

std::uint64_t total_memory() {
  return std::min(meminfo("MemTotal"), cgroup_number("/sys/fs/cgroup/memory.max", ~0ULL));
}

std::string machine_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

namespace {

bool has_address(const std::string& text) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return false;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(first, ::freeifaddrs);
  for (const ifaddrs* it = first; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr) continue;
    const int family = it->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    std::array<char, NI_MAXHOST> host{};
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (::getnameinfo(it->ifa_addr, size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) ==
            0 &&
        text == host.data()) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool is_this_machine(const std::string& host) {
  if (host.empty()) return false;
  if (host.find(':') != std::string::npos || std::isdigit(static_cast<unsigned char>(host[0]))) {
    if (has_address(host)) return true;
  }
  const std::string mine = machine_name();
  const auto bare = [](const std::string& name) { return name.substr(0, name.find('.')); };
  // Of two names with domains both count.
  const bool one_is_bare =
      host.find('.') == std::string::npos || mine.find('.') == std::string::npos;
  return host == "localhost" || host == mine || (one_is_bare && bare(host) == bare(mine));
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

bool has_bf16() {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.rfind("flags", 0) != 0) continue;
    return line.find(" avx512_bf16") != std::string::npos ||
           line.find(" amx_bf16") != std::string::npos;
  }
  return false;
}

std::string cpu_capability() {
  std::string out;
  const auto add = [&out](bool has, const char* name) {
    if (has) out += (out.empty() ? "" : " ") + std::string(name);
  };
  add(__builtin_cpu_supports("avx2") != 0, "avx2");
  add(__builtin_cpu_supports("fma") != 0, "fma");
  add(__builtin_cpu_supports("avx512f") != 0, "avx512f");
  add(__builtin_cpu_supports("avx512bw") != 0, "avx512bw");
  add(__builtin_cpu_supports("avx512vnni") != 0, "avx512vnni");
  return out;
}

std::int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * kSecond + now.tv_nsec;
}

void leave_idle(int pid) {
  std::error_code error;
  const std::string tasks = cat("/proc/", pid, "/task");
  for (const auto& entry : std::filesystem::directory_iterator(tasks, error)) {
    const auto thread =
        static_cast<pid_t>(std::strtol(entry.path().filename().c_str(), nullptr, 10));
    const sched_param none{};
    if (::sched_getscheduler(thread) == SCHED_IDLE) {
      ::sched_setscheduler(thread, SCHED_OTHER, &none);
    }
  }
}

}  // namespace instep
