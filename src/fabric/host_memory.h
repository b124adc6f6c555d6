// The memory that the agents of one host share: anonymous files made by the launcher, passed by
// descriptor, gone with the last process that holds them.
//
//   control  the words below, one writer each (design, rule 10)
//   state    parameters (two buffers), combined results, optimizer state; laid out by src/sync
//   arena k  where agent k's CPU allocator takes its blocks, so that its gradients are shared as
//   they
//            are made; writable by agent k alone
//   world    of one of several hosts: what the bridge brings from all of them, for agents to read
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
// The words of the bridge, which speaks for all hosts of a run.
inline constexpr std::uint32_t kWorld = kMaxSlots;
inline constexpr std::uint64_t kHostMagic = 0x31706574736e69ULL;  // "instep1"

// A ticket names one attempt at an op under one view: (view's number, the op's place in it). An
// agent's tickets only grow, and whoever has taken up a later view is past every ticket of the
// earlier ones.
using Ticket = std::uint64_t;
inline constexpr int kTicketBits = 46;
inline constexpr Ticket ticket(std::uint32_t view, std::uint64_t place) {
  return std::uint64_t{view} << kTicketBits | place;
}
inline constexpr std::uint32_t view_of(Ticket ticket) {
  return static_cast<std::uint32_t>(ticket >> kTicketBits);
}

inline constexpr std::uint64_t kSaveFailed = 1ULL << 63;

// Why an agent's beats may stand still.
enum class Busy : std::uint32_t {
  kOutside,    // its program's own code, a callback, a checkpoint
  kComputing,  // a shard, or its slices
  kWaiting,    // for others; beats go on
};

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
struct Attempt {
  std::atomic<Ticket> ticket;
  std::atomic<std::uint64_t> op;        // member::Op
  std::atomic<std::uint32_t> finishes;  // whether others need my `finished`, not `published` alone
};
struct AgentWords {
  // The exchange. Waiters sleep on the low half of a ticket.
  alignas(64) std::atomic<Ticket> published;  // my part of this ticket can be read
  alignas(64) std::atomic<Ticket> judged;     // my slice's scalars of it can be read (verdict)
  alignas(64) std::atomic<Ticket> finished;   // my slice's result of it can be read
  // kWorld's alone (round/world.h): its part of this ticket can be read, but for the sums, which
  // come block by block; how often some have come; and where it says which, in its arena.
  alignas(64) std::atomic<Ticket> told;
  alignas(64) std::atomic<std::uint64_t> arrivals;
  std::atomic<std::uint64_t> arrived;
  // For kWorld: my part of this ticket can be read though some of it is still computed
  // (round/part.h), and how often there was something new, of that or published.
  alignas(64) std::atomic<Ticket> opened;
  std::atomic<std::uint64_t> news;
  alignas(64) std::atomic<std::uint32_t> waiting;  // not 0: I may sleep on somebody's word
  // Checkpoints: the newest one whose parts I have written and synced, by its round + 1;
  // kSaveFailed is added where that went wrong. Written by my saving thread.
  alignas(64) std::atomic<std::uint64_t> saved;
  // Where the two newest parts that I published lie in my arena; each says which ticket it is for.
  alignas(64) std::atomic<std::uint64_t> mail[2];
  // The newest attempts that I began, by the ticket's place in the ring; the ticket is stored last,
  // so that an entry is there whole or not at all.
  Attempt attempts[4];
  std::atomic<std::uint32_t> newest;  // entry of the one begun last
  // The number of the newest view taken up; all that I read under earlier ones is done with.
  std::atomic<std::uint64_t> taken;
  std::atomic<std::uint32_t> beats, busy;  // a sign of life; Busy
  // What a successor needs (round/undo.h, round/book.h): offsets in my arena, 0 for none.
  std::atomic<std::uint64_t> undo_at, undo_open, book;
  AgentStatus status;
};

struct ControlPage {
  std::uint64_t magic;
  std::uint32_t slots;
  alignas(64) AgentWords agents[kMaxSlots + 1];  // the last: kWorld
};

// Where an agent stands, in one atomic look at its words.
struct Standing {
  std::uint64_t op = 0;    // that it is at
  bool done = false;       // and whether its part of it is there for all to read
  std::uint32_t view = 0;  // under which; 0: it has not begun
  // The first op for which others may still need something of it, under that view.
  std::uint64_t released() const { return op + (done ? 1 : 0); }
};
Standing standing(const AgentWords& words);

struct HostFiles {
  Fd control, state;
  Fd world;                // the bridge's arena; invalid without one
  std::vector<Fd> arenas;  // [slots]
};

// Made by the launcher, or by a program that runs alone. `world`: with an arena for a bridge.
Result<HostFiles> make_host_files(std::uint32_t slots, bool world = false);

inline constexpr std::uint64_t kPage = 4096;
// As many bytes as the pages that they take.
inline constexpr std::uint64_t whole_pages(std::uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

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
