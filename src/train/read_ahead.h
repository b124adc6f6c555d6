// The training batches of this agent's shards. While a round computes, a thread of low priority can
// make those of the next one, so that training does not wait for data. A batch is a pure function
// of job, shard and round: who makes it changes no bit.
//
// The thread touches neither libtorch nor its allocator: it gathers into plain memory, which the
// training thread wraps as tensors. Whatever is not done when it is wanted, the training thread
// makes itself, so that it never waits for a thread that gets no processor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "data/dataset.h"
#include "data/sampler.h"
#include "instep/run.h"

namespace instep::train {

class ReadAhead {
 public:
  struct Setup {
    std::vector<std::uint32_t> shards;  // this agent's, one after the other
    std::uint64_t rounds_per_epoch = 1, rounds = 0;
    bool ahead = false;     // start the thread
    std::vector<int> cpus;  // where it may run; empty: where the process may
  };
  // `sampler` outlives it.
  ReadAhead(std::shared_ptr<const data::Table> table, const data::Sampler& sampler, Setup setup);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Whether a thread pays: batches are large enough, and there is a processor that no agent
  // computes on.
  static bool pays(const data::Table& table, std::uint64_t samples_a_round, std::uint64_t busy,
                   std::uint64_t processors);

  // The rest is the training thread's. Before a round's batches: hands the next round's to the
  // thread, the first time.
  void begin_round(std::uint64_t round);
  // The batch of shard number `index` of mine in the round begun. A program may keep the tensors.
  Batch take(std::size_t index);
  // The samples [first, first + count) of that batch, made when they are wanted; in order.
  Batch take_part(std::size_t index, std::uint32_t first, std::uint32_t count);
  // Their numbers; valid until the round after the next begins.
  std::span<const std::uint64_t> samples(std::size_t index) const {
    return sets_[round_ % 2][index].samples;
  }
  // Whether the thread has made the next round's batch by now.
  bool made_ahead(std::size_t index) const {
    return sets_[(round_ + 1) % 2][index].state.load(std::memory_order_acquire) == kMade;
  }
  // Time that take() and begin_round() took.
  double waited_ms() const { return static_cast<double>(waited_ns_) * 1e-6; }

 private:
  // Who may touch what a slot holds for the thread. kFree, kMade: the training thread. kDue:
  // whoever takes it first. kMaking, kDropped (wanted before it was done): the thread.
  enum State : std::uint32_t { kFree, kDue, kMaking, kMade, kDropped };
  enum class Claim { kEmpty, kMade, kBusy };
  struct Memory {
    std::shared_ptr<std::byte> at;
    std::uint64_t bytes = 0;
  };
  struct Slot {
    std::vector<std::uint64_t> samples;  // of the batch taken last
    std::uint64_t round = 0;             // that it is ordered for
    std::vector<std::uint64_t> numbers;  // of its samples
    Memory data, target;
    std::atomic<std::uint32_t> state = kFree;
  };

  static Claim claim(Slot& slot);
  bool prepare(Slot& slot, std::uint64_t samples) const;
  void number(std::size_t index, std::uint64_t round, std::vector<std::uint64_t>& out) const;
  void fill(std::size_t index, Slot& slot) const;
  Batch wrap(const Slot& slot) const;
  void work();

  const std::shared_ptr<const data::Table> table_;
  const data::Sampler& sampler_;
  const Setup setup_;
  std::vector<Slot> sets_[2];  // [round % 2][shard]
  std::uint64_t round_ = 0;
  std::uint64_t begun_ = 0;  // rounds up to the one begun last
  std::uint64_t waited_ns_ = 0;
  static constexpr std::uint64_t kStop = ~0ULL;
  std::atomic<std::uint64_t> ordered_ = 0;  // the round that the thread is to make; 0: none yet
  std::thread thread_;
};

}  // namespace instep::train
