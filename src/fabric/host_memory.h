// The memory that the agents of one host share: anonymous files made by the launcher, passed by
// descriptor, gone with the last process that holds them.
//
//   control  the words below, one writer each (design, rule 10)
//   state    parameters (two buffers), combined results, optimizer state; laid out by src/sync
//   arena k  where agent k's CPU allocator takes its blocks, so that its gradients are shared as
//   they
//            are made; writable by agent k alone
//
// All files are sparse: their size is address space, pages are taken when first touched.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::fabric {

inline constexpr std::uint32_t kMaxSlots = 64;
inline constexpr std::uint64_t kHostMagic = 0x31706574736e69ULL;  // "instep1"

inline constexpr std::uint32_t kSaveFailed = 1U << 31;

// What an agent is doing, for people; never for decisions.
enum class AgentState : std::uint32_t { kAbsent, kStarting, kReady, kTraining, kEvaluating, kDone };

// Live figures of one agent, written by it, read by the launcher's display.
struct alignas(64) AgentStatus {
  std::atomic<std::uint32_t> state;
  std::atomic<std::uint32_t> shards;   // it computes in this view
  std::atomic<std::uint64_t> round;    // rounds finished
  std::atomic<std::uint64_t> rounds;   // of the whole run, as planned
  std::atomic<std::uint64_t> samples;  // its shards' samples, counted when their round is finished
  std::atomic<double> data_epoch;      // epochs of data done
  std::atomic<double> loss;            // combined, of the newest round
  std::atomic<double> waited_seconds;  // for others, until the newest round's end
};

// One agent's words. Every one is written by that agent alone.
struct AgentWords {
  // The exchange: tickets count rounds and gathers alike, in the same order on every member.
  alignas(64) std::atomic<std::uint32_t> published;  // my part of this ticket can be read
  alignas(64) std::atomic<std::uint32_t> judged;  // my slice's scalars of it can be read (verdict)
  alignas(64) std::atomic<std::uint32_t> finished;  // my slice's result of it can be read
  alignas(64) std::atomic<std::uint32_t> waiting;   // not 0: I may sleep on somebody's word
  // Checkpoints: the number of the newest one whose parts I have written and synced; kSaveFailed is
  // added where that went wrong. Written by my saving thread.
  alignas(64) std::atomic<std::uint32_t> saved;
  // Where the part of a ticket lies in my arena, by the ticket's lowest bit.
  alignas(64) std::atomic<std::uint64_t> mail_offset[2];
  std::atomic<std::uint64_t> mail_bytes[2];
  AgentStatus status;
};

struct ControlPage {
  std::uint64_t magic;
  std::uint32_t slots;
  alignas(64) AgentWords agents[kMaxSlots];
};

struct HostFiles {
  Fd control, state;
  std::vector<Fd> arenas;  // [slots]
};

// Made by the launcher, or by a program that runs alone.
Result<HostFiles> make_host_files(std::uint32_t slots);

// A mapping of a shared file, unmapped with the object.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  static Result<Mapping> map(const Fd& file, bool writable);

  std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

// The control page in a mapping of it.
ControlPage* control_page(const Mapping& mapping);

}  // namespace instep::fabric
