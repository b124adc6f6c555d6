// What this process may use of the machine: processors (affinity and cgroup), memory, identity.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace instep {

// Processors in the affinity mask of the calling thread, or of a process.
std::vector<int> usable_cpus(int process = 0);
// How many of them the cgroup's quota really grants, at least 1.
int usable_cpu_count();
// Binds the calling thread (and those it will start) to these processors; false if refused.
bool pin_to(const std::vector<int>& cpus);

// Bytes that can still be taken before swapping or a cgroup's limit.
std::uint64_t available_memory();
std::uint64_t total_memory();

// Its host name; empty if it has none.
std::string machine_name();
// Whether a host's name or address, as written, means this machine. Nothing is looked up: names are
// "localhost" and the machine's own, with or without their domain.
bool is_this_machine(const std::string& host);

std::string cpu_model();
// Whether the processor has instructions for bfloat16; without them it is emulated, slowly.
bool has_bf16();
// "avx2 avx512f …": those that change what libtorch computes.
std::string cpu_capability();

// CLOCK_MONOTONIC in nanoseconds.
std::int64_t monotonic_ns();

// Every thread of a process that runs when nobody else wants to (SCHED_IDLE) runs as others do from
// here on, where that is allowed.
void leave_idle(int pid);

}  // namespace instep
