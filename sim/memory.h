// A host's shared memory, as plain memory of this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fabric/host_memory.h"
#include "job.h"
#include "round/state_move.h"
#include "round/undo.h"

namespace instep::sim {

class Memory {
 public:
  Memory(const Job& job, std::uint32_t slots);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  fabric::ControlPage& control() { return *control_; }
  fabric::AgentWords& words(std::int32_t slot) {
    return control_->agents[static_cast<std::size_t>(slot)];
  }
  std::span<std::byte> arena(std::int32_t slot) const {
    return {arenas_ + static_cast<std::size_t>(slot) * kArenaBytes, kArenaBytes};
  }
  std::span<std::byte> state() { return state_; }
  // The bridge's arena.
  std::span<std::byte> world() const { return {arenas_ + slots_ * kArenaBytes, kWorldBytes}; }
  std::uint32_t slots() const { return slots_; }

  round::StateParts state_parts(std::uint64_t round) const;

  double* block_sums() { return reinterpret_cast<double*>(state_.data()); }
  round::Stamp* stamps() { return reinterpret_cast<round::Stamp*>(state_.data() + stamps_at_); }
  float* parameters(std::uint64_t round) { return values(round & 1); }
  float* combined() { return values(kCombined); }
  float* moment(int index) { return values(kFirstMoment + static_cast<std::uint64_t>(index)); }

 private:
  static constexpr std::size_t kArenaBytes = std::size_t{48} << 20;
  static constexpr std::size_t kWorldBytes = std::size_t{4} << 20;
  static constexpr std::uint64_t kCombined = 2, kFirstMoment = 3;  // behind the parameters'
  round::StatePart region(std::uint64_t index) const {
    const std::uint64_t bytes = elements_ * sizeof(float);
    return {regions_at_ + index * bytes, bytes};
  }
  float* values(std::uint64_t index) {
    return reinterpret_cast<float*>(state_.data() + region(index).begin);
  }

  const std::uint32_t slots_;
  const std::uint64_t elements_;
  const int moments_;
  std::unique_ptr<fabric::ControlPage> control_;
  std::uint64_t stamps_at_ = 0, regions_at_ = 0;
  std::span<std::byte> state_;
  std::byte* arenas_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace instep::sim
