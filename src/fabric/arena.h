// An allocator over one agent's arena: blocks on 64 bytes that are never given back to the system,
// so no block faults twice and a gradient lies in shared memory from the moment autograd makes it.
// Small sizes in classes (four a doubling) from chunks of 1 MiB, large ones best-fit with
// neighbours joined. Any thread may take and give back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace instep::fabric {

class Arena {
 public:
  // In the place of an offset: nothing is there, and nothing is there yet.
  static constexpr std::uint64_t kAbsent = ~0ULL;
  static constexpr std::uint64_t kPending = ~1ULL;

  explicit Arena(std::span<std::byte> memory);

  // Null if the arena is full.
  void* take(std::size_t bytes);
  void give_back(void* block);

  bool contains(const void* at) const {
    return at >= memory_.data() && at < memory_.data() + memory_.size();
  }
  std::uint64_t offset(const void* at) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - memory_.data());
  }
  std::span<const std::byte> memory() const { return memory_; }
  // The highest byte ever handed out: what the arena costs in memory at most.
  std::uint64_t high_water() const;

 private:
  static constexpr std::uint64_t kChunk = 1 << 20;
  static constexpr std::uint64_t kLargest = 1 << 18;  // of the small sizes
  static constexpr std::uint64_t kLargeStep = 1 << 16;

  static std::uint32_t class_of(std::uint64_t bytes);
  static std::uint64_t class_bytes(std::uint32_t index);
  std::uint64_t take_large(std::uint64_t bytes);  // ~0 if there is none
  void give_back_large(std::uint64_t at, std::uint64_t bytes);

  const std::span<std::byte> memory_;
  mutable std::mutex mutex_;
  std::uint64_t top_ = 0;
  std::vector<std::vector<std::uint64_t>> free_small_;  // [class]
  std::vector<std::uint8_t> chunk_class_;               // [chunk], 255: not a chunk of small ones
  std::map<std::uint64_t, std::uint64_t> free_large_;   // offset -> bytes
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_size_;  // (bytes, offset) of the same
  std::unordered_map<std::uint64_t, std::uint64_t> large_;     // taken: offset -> bytes
};

}  // namespace instep::fabric
