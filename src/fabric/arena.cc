#include "fabric/arena.h"

#include <algorithm>
#include <bit>

#include "base/result.h"

namespace instep::fabric {
namespace {

constexpr std::uint64_t kNone = ~0ULL;
constexpr std::uint8_t kNoClass = 255;

}  // namespace

Arena::Arena(std::span<std::byte> memory) : memory_(memory) {
  free_small_.resize(class_of(kLargest) + 1);
}

// Classes: 64, 128, 192, 256, then four steps a doubling up to kLargest.
std::uint32_t Arena::class_of(std::uint64_t bytes) {
  const std::uint64_t units = (std::max<std::uint64_t>(bytes, 1) + 63) / 64;
  if (units <= 4) return static_cast<std::uint32_t>(units - 1);
  const auto doubling =
      static_cast<std::uint32_t>(std::bit_width(units - 1));  // units in (2^(d-1), 2^d]
  const std::uint64_t low = 1ULL << (doubling - 1);
  const auto quarter = static_cast<std::uint32_t>((units - low + low / 4 - 1) / (low / 4));
  return 4 + (doubling - 3) * 4 + quarter - 1;
}

std::uint64_t Arena::class_bytes(std::uint32_t index) {
  if (index < 4) return 64ULL * (index + 1);
  const std::uint32_t doubling = (index - 4) / 4 + 3;
  const std::uint64_t low = 1ULL << (doubling - 1);
  return 64 * (low + low / 4 * ((index - 4) % 4 + 1));
}

void* Arena::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > kLargest) {
    const std::uint64_t rounded = (bytes + kLargeStep - 1) / kLargeStep * kLargeStep;
    const std::uint64_t offset = take_large(rounded);
    if (offset == kNone) return nullptr;
    large_[offset] = rounded;
    return memory_.data() + offset;
  }
  const std::uint32_t index = class_of(bytes);
  auto& list = free_small_[index];
  if (list.empty()) {
    // Chunks lie on multiples of their size, so that a block's class is found from its address.
    const std::uint64_t raw = take_large(kChunk);
    if (raw == kNone) return nullptr;
    chunk_class_.resize(std::max<std::size_t>(chunk_class_.size(), raw / kChunk + 1), kNoClass);
    chunk_class_[raw / kChunk] = static_cast<std::uint8_t>(index);
    const std::uint64_t size = class_bytes(index);
    for (std::uint64_t at = kChunk / size * size; at >= size; at -= size)
      list.push_back(raw + at - size);
  }
  const std::uint64_t offset = list.back();
  list.pop_back();
  return memory_.data() + offset;
}

std::uint64_t Arena::take_large(std::uint64_t bytes) {
  const bool chunk = bytes == kChunk;
  for (auto it = by_size_.lower_bound({bytes, 0}); it != by_size_.end(); ++it) {
    const auto [free_bytes, offset] = *it;
    const std::uint64_t at = chunk ? (offset + kChunk - 1) / kChunk * kChunk : offset;
    if (at + bytes > offset + free_bytes) continue;
    by_size_.erase(it);
    free_large_.erase(offset);
    if (at > offset) {
      free_large_[offset] = at - offset;
      by_size_.insert({at - offset, offset});
    }
    if (at + bytes < offset + free_bytes) {
      free_large_[at + bytes] = offset + free_bytes - at - bytes;
      by_size_.insert({offset + free_bytes - at - bytes, at + bytes});
    }
    return at;
  }
  const std::uint64_t at = chunk ? (top_ + kChunk - 1) / kChunk * kChunk : top_;
  if (at + bytes > memory_.size()) return kNone;
  if (at > top_) give_back_large(top_, at - top_);
  top_ = at + bytes;
  return at;
}

void Arena::give_back(void* block) {
  if (block == nullptr) return;
  const std::lock_guard lock(mutex_);
  const std::uint64_t at = offset(block);
  INSTEP_CHECK(at < top_, "a block given back lies in its arena");
  const std::uint64_t chunk = at / kChunk;
  if (chunk < chunk_class_.size() && chunk_class_[chunk] != kNoClass) {
    free_small_[chunk_class_[chunk]].push_back(at);
    return;
  }
  const auto taken = large_.find(at);
  INSTEP_CHECK(taken != large_.end(), "a block is given back once");
  const std::uint64_t bytes = taken->second;
  large_.erase(taken);
  give_back_large(at, bytes);
}

void Arena::give_back_large(std::uint64_t at, std::uint64_t bytes) {
  const auto next = free_large_.lower_bound(at);
  if (next != free_large_.end() && next->first == at + bytes) {
    bytes += next->second;
    by_size_.erase({next->second, next->first});
    free_large_.erase(next);
  }
  const auto after = free_large_.lower_bound(at);
  if (after != free_large_.begin()) {
    const auto previous = std::prev(after);
    if (previous->first + previous->second == at) {
      at = previous->first;
      bytes += previous->second;
      by_size_.erase({previous->second, previous->first});
      free_large_.erase(previous);
    }
  }
  free_large_[at] = bytes;
  by_size_.insert({bytes, at});
}

std::uint64_t Arena::high_water() const {
  const std::lock_guard lock(mutex_);
  return top_;
}

}  // namespace instep::fabric
