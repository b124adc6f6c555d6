#include "round/undo.h"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/failpoint.h"
#include "base/text.h"
#include "reduce/kernels.h"

namespace instep::round {

using reduce::kBlockBytes;
using reduce::kBlockElements;
using reduce::Range;

namespace {

constexpr std::uint64_t kMagic = 0x6f646e75;  // "undo"
constexpr std::uint64_t kMostRegions = 4;

// At words.undo_at; the saved regions follow, one after the other.
struct Head {
  std::uint64_t magic = kMagic, regions = 0, most_blocks = 0, stamps = 0;
  std::array<std::uint64_t, kMostRegions> region{};  // offsets in the state file
};

// What words.undo_open says, in one word: which blocks are saved, and for which round.
constexpr std::uint64_t kRoundBits = 0xffffff;
constexpr std::uint64_t kFirstBits = 0xffffffff;
constexpr std::uint64_t kCountBits = 0xff;
std::uint64_t pack(std::uint32_t stamp, std::uint64_t first, std::uint64_t blocks) {
  return (stamp & kRoundBits) << 40 | first << 8 | blocks;
}

bool inside(std::uint64_t at, std::uint64_t bytes, std::uint64_t size) {
  return at <= size && bytes <= size - at;
}

}  // namespace

void set_stamps(Stamp* stamps, const Range& unit, std::uint64_t round) {
  _mm_sfence();  // streamed stores are no part of what the next ones release
  const std::uint64_t end = (unit.end() + kBlockElements - 1) / kBlockElements;
  for (std::uint64_t block = unit.begin / kBlockElements; block < end; ++block) {
    stamps[block].store(stamp_of(round), std::memory_order_release);
    failpoint("update.stamp");
  }
}

bool stamped(const Stamp* stamps, const Range& range, std::uint64_t round) {
  const std::uint64_t end = (range.end() + kBlockElements - 1) / kBlockElements;
  return std::all_of(stamps + range.begin / kBlockElements, stamps + end, [round](const Stamp& it) {
    return it.load(std::memory_order_acquire) == stamp_of(round);
  });
}

std::vector<Range> unstamped(const std::vector<Range>& units, const Stamp* stamps,
                             std::uint64_t round) {
  std::vector<Range> out;
  for (const Range& unit : units) {
    bool open = false;
    for (std::uint64_t at = unit.begin; at < unit.end(); at += kBlockElements) {
      const std::uint64_t count = std::min<std::uint64_t>(kBlockElements, unit.end() - at);
      const bool due =
          stamps[at / kBlockElements].load(std::memory_order_acquire) != stamp_of(round);
      if (due && open) {
        out.back().count += count;
      } else if (due) {
        out.push_back({at, count});
      }
      open = due;
    }
  }
  return out;
}

UndoSlot::UndoSlot(fabric::Arena& arena, fabric::AgentWords& words, const std::byte* state,
                   std::vector<const float*> regions, const Stamp* stamps, std::uint64_t most)
    : arena_(arena), words_(words), regions_(std::move(regions)), most_(most) {
  INSTEP_CHECK(regions_.size() <= kMostRegions && most % kBlockElements == 0 &&
                   most / kBlockElements <= kCountBits,
               "what an undo slot holds");
  if (regions_.empty()) return;
  memory_ =
      static_cast<std::byte*>(arena_.take(sizeof(Head) + regions_.size() * most * sizeof(float)));
  INSTEP_CHECK(memory_ != nullptr, "an arena holds its undo slot");
  Head head;
  head.regions = regions_.size();
  head.most_blocks = most / kBlockElements;
  const auto offset = [state](const void* at) {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - state);
  };
  head.stamps = offset(stamps);
  for (std::size_t i = 0; i < regions_.size(); ++i) head.region[i] = offset(regions_[i]);
  std::memcpy(memory_, &head, sizeof head);
  words_.undo_open.store(0, std::memory_order_release);
  words_.undo_at.store(arena_.offset(memory_), std::memory_order_release);
}

UndoSlot::~UndoSlot() {
  if (memory_ == nullptr) return;
  words_.undo_open.store(0, std::memory_order_release);
  words_.undo_at.store(0, std::memory_order_release);
  arena_.give_back(memory_);
}

void UndoSlot::save(const Range& unit, std::uint64_t round, std::span<std::uint64_t> checks) {
  if (memory_ == nullptr) return;
  auto* to = reinterpret_cast<float*>(memory_ + sizeof(Head));
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const float* from = regions_[i] + unit.begin;
    for (std::uint64_t at = 0; at < unit.count; at += kBlockElements) {
      const std::uint64_t bits = reduce::copy_and_sum_bits(to + at, from + at, kBlockElements);
      checks[at / kBlockElements] += check_weight(i) * bits;
    }
    to += most_;
    failpoint("undo.save");
  }
  words_.undo_open.store(
      pack(stamp_of(round), unit.begin / kBlockElements, unit.count / kBlockElements),
      std::memory_order_release);
}

Status undo(fabric::AgentWords& words, std::span<const std::byte> arena,
            std::span<std::byte> state) {
  const std::uint64_t open = words.undo_open.load(std::memory_order_acquire);
  const std::uint64_t at = words.undo_at.load(std::memory_order_acquire);
  if (open == 0 || at == 0) return {};
  const Error broken{ErrorKind::kCorrupt, "a dead agent's undo slot does not hold together"};
  Head head;
  if (!inside(at, sizeof head, arena.size())) return broken;
  std::memcpy(&head, arena.data() + at, sizeof head);
  const std::uint64_t first = open >> 8 & kFirstBits;
  const std::uint64_t blocks = open & kCountBits;
  if (head.magic != kMagic || head.regions > kMostRegions || blocks > head.most_blocks ||
      head.most_blocks > kCountBits ||
      !inside(at, sizeof head + head.regions * head.most_blocks * kBlockBytes, arena.size()) ||
      head.stamps % alignof(Stamp) != 0 ||
      !inside(head.stamps, (first + blocks) * sizeof(Stamp), state.size())) {
    return broken;
  }
  for (std::uint64_t i = 0; i < head.regions; ++i) {
    if (!inside(head.region[i], (first + blocks) * kBlockBytes, state.size())) return broken;
  }
  const auto* stamps = reinterpret_cast<const Stamp*>(state.data() + head.stamps);
  for (std::uint64_t block = 0; block < blocks; ++block) {
    // Only what stands where it stood when it was saved: a block that is stamped is done, and one
    // that has gone on since is somebody else's.
    const std::uint64_t stamp = stamps[first + block].load(std::memory_order_acquire);
    if ((stamp & kRoundBits) != (((open >> 40) - 1) & kRoundBits)) continue;
    for (std::uint64_t i = 0; i < head.regions; ++i) {
      std::memcpy(state.data() + head.region[i] + (first + block) * kBlockBytes,
                  arena.data() + at + sizeof head + (i * head.most_blocks + block) * kBlockBytes,
                  kBlockBytes);
    }
  }
  words.undo_open.store(0, std::memory_order_release);
  return {};
}

}  // namespace instep::round
