#include "train/read_ahead.h"

#include <ATen/ops/from_blob.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "data/memory.h"
#include "train/batches.h"

namespace instep::train {
namespace {

using ReadClock = std::chrono::steady_clock;

// Adds the time that it lives.
class Stopwatch {
 public:
  explicit Stopwatch(std::uint64_t& total_ns) : total_ns_(total_ns) {}
  ~Stopwatch() {
    const auto passed = std::chrono::nanoseconds(ReadClock::now() - started_);
    total_ns_ += static_cast<std::uint64_t>(passed.count());
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  std::uint64_t& total_ns_;
  const ReadClock::time_point started_ = ReadClock::now();
};

std::uint64_t bytes_of(const std::vector<std::int64_t>& shape, at::ScalarType type) {
  std::uint64_t bytes = c10::elementSize(type);
  for (const std::int64_t extent : shape) bytes *= static_cast<std::uint64_t>(extent);
  return bytes;
}

at::Tensor tensor_over(const std::shared_ptr<std::byte>& memory,
                       const std::vector<std::int64_t>& shape, at::ScalarType type) {
  return at::from_blob(
      memory.get(), shape, [memory](void*) {}, at::TensorOptions(type));
}

}  // namespace

ReadAhead::ReadAhead(std::shared_ptr<const data::Table> table, const data::Sampler& sampler,
                     Setup setup)
    : table_(std::move(table)), sampler_(sampler), setup_(std::move(setup)) {
  for (auto& set : sets_) set = std::vector<Slot>(setup_.shards.size());
  if (!setup_.ahead || setup_.shards.empty()) return;
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error& error) {
    log(LogLevel::kWarning, cat("no thread can be started to make batches ahead (", error.what(),
                                "); they are made when they are due"));
  }
}

ReadAhead::~ReadAhead() {
  if (!thread_.joinable()) return;
  ordered_.store(kStop, std::memory_order_release);
  ordered_.notify_one();
  thread_.join();
}

bool ReadAhead::pays(const data::Table& table, std::uint64_t samples_a_round, std::uint64_t busy,
                     std::uint64_t processors) {
  // A hand-off takes some 20 us. Gathering makes 3 to 10 GB/s, so this much takes 50 to 150.
  constexpr std::uint64_t kLeastBytes = 1 << 19;
  const BatchLayout layout = layout_of(table, samples_a_round);
  return busy < processors && bytes_of(layout.data, layout.data_type) >= kLeastBytes;
}

void ReadAhead::begin_round(std::uint64_t round) {
  const Stopwatch watch(waited_ns_);
  round_ = round;
  const std::uint64_t next = round + 1;
  if (std::exchange(begun_, next) == next) return;
  if (!thread_.joinable() || next >= setup_.rounds) return;
  auto& set = sets_[next % 2];
  for (std::size_t i = 0; i < set.size(); ++i) {
    const std::uint64_t samples =
        sampler_.batch_size(setup_.shards[i], next % setup_.rounds_per_epoch);
    if (samples == 0 || claim(set[i]) == Claim::kBusy || !prepare(set[i], samples)) continue;
    set[i].round = next;
    set[i].state.store(kDue, std::memory_order_release);
  }
  ordered_.store(next, std::memory_order_release);
  ordered_.notify_one();
}

// Takes what a slot holds for the training thread, unless the other is at it; then it will be
// dropped when it is done.
ReadAhead::Claim ReadAhead::claim(Slot& slot) {
  std::uint32_t state = kDue;
  if (slot.state.compare_exchange_strong(state, kFree, std::memory_order_acquire)) {
    return Claim::kEmpty;
  }
  if (state == kMaking &&
      slot.state.compare_exchange_strong(state, kDropped, std::memory_order_acquire)) {
    return Claim::kBusy;
  }
  if (state == kDropped) return Claim::kBusy;
  return slot.state.exchange(kFree, std::memory_order_acquire) == kMade ? Claim::kMade
                                                                        : Claim::kEmpty;
}

// Memory for a batch; false if there is none. Tensors that a program has kept keep theirs.
bool ReadAhead::prepare(Slot& slot, std::uint64_t samples) const {
  const BatchLayout layout = layout_of(*table_, samples);
  slot.numbers.reserve(samples);
  const auto grow = [](Memory& memory, std::uint64_t due) {
    if (memory.bytes >= due && memory.at.use_count() == 1) {
      std::atomic_thread_fence(std::memory_order_acquire);
      return true;
    }
    Result<data::Memory> taken = data::allocate(due, "a batch");
    if (!taken.ok()) return false;
    memory = {taken.take(), due};
    return true;
  };
  return grow(slot.data, bytes_of(layout.data, layout.data_type)) &&
         grow(slot.target, bytes_of(layout.target, layout.target_type));
}

void ReadAhead::number(std::size_t index, std::uint64_t round,
                       std::vector<std::uint64_t>& out) const {
  sampler_.batch(setup_.shards[index], round / setup_.rounds_per_epoch,
                 round % setup_.rounds_per_epoch, out);
}

void ReadAhead::fill(std::size_t index, Slot& slot) const {
  number(index, slot.round, slot.numbers);
  fill_batch(*table_, slot.numbers, slot.data.at.get(), slot.target.at.get());
}

Batch ReadAhead::wrap(const Slot& slot) const {
  Batch batch;
  batch.samples = slot.samples;
  const BatchLayout layout = layout_of(*table_, slot.samples.size());
  batch.data = tensor_over(slot.data.at, layout.data, layout.data_type);
  batch.target = tensor_over(slot.target.at, layout.target, layout.target_type);
  return batch;
}

Batch ReadAhead::take(std::size_t index) {
  const Stopwatch watch(waited_ns_);
  Slot& slot = sets_[round_ % 2][index];
  Batch batch;
  if (claim(slot) == Claim::kMade && slot.round == round_) {
    slot.samples.swap(slot.numbers);
    batch = wrap(slot);
  } else {
    number(index, round_, slot.samples);
    batch = make_batch(*table_, slot.samples);
  }
  batch.shard = setup_.shards[index];
  batch.round = round_;
  return batch;
}

Batch ReadAhead::take_part(std::size_t index, std::uint32_t first, std::uint32_t count) {
  const Stopwatch watch(waited_ns_);
  Slot& slot = sets_[round_ % 2][index];
  if (first == 0) number(index, round_, slot.samples);
  Batch batch = make_batch(*table_, std::span(slot.samples).subspan(first, count));
  batch.shard = setup_.shards[index];
  batch.round = round_;
  return batch;
}

void ReadAhead::work() {
  // Training comes first wherever the two meet on a processor.
  constexpr int kLeastPriority = 19;
  if (!setup_.cpus.empty()) pin_to(setup_.cpus);
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLeastPriority);
  std::uint64_t round = 0;
  while (true) {
    ordered_.wait(round, std::memory_order_acquire);
    round = ordered_.load(std::memory_order_acquire);
    if (round == kStop) return;
    auto& set = sets_[round % 2];  // its slots may be ordered anew meanwhile, and know it
    for (std::size_t i = 0; i < set.size(); ++i) {
      std::uint32_t due = kDue;
      if (!set[i].state.compare_exchange_strong(due, kMaking, std::memory_order_acq_rel)) continue;
      fill(i, set[i]);
      due = kMaking;
      if (!set[i].state.compare_exchange_strong(due, kMade, std::memory_order_release)) {
        set[i].state.store(kFree, std::memory_order_release);
      }
    }
  }
}

}  // namespace instep::train
