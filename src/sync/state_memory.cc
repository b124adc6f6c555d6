#include "sync/state_memory.h"

#include <sys/mman.h>

#include <cerrno>

#include "base/machine.h"
#include "base/text.h"
#include "reduce/flat.h"
#include "reduce/kernels.h"

namespace instep::sync {

using reduce::kBlockBytes;

namespace {

constexpr std::uint64_t kSums = 4;  // by block: of gradients, of changes, and two of checks
static_assert(kBlockBytes % fabric::kPage == 0, "a slice's borders are page borders");

// A block's part of the check by region number `index` beside the parameters.
std::uint64_t weighed(const float* region, std::size_t index, std::uint64_t block) {
  const float* at = region + block * reduce::kBlockElements;
  return round::check_weight(index) * reduce::sum_of_bits(at, reduce::kBlockElements);
}

}  // namespace

Result<StateMemory> StateMemory::map(const Fd& file, std::uint64_t blocks, int moments,
                                     bool average, std::size_t residuals) {
  StateMemory memory;
  memory.blocks_ = blocks;
  memory.moments_ = moments;
  memory.average_ = average;
  memory.residuals_ = residuals;
  INSTEP_ASSIGN_OR_RETURN(memory.mapping_, fabric::Mapping::map(file, true));
  const std::uint64_t bytes =
      kSums * memory.sums_bytes() + memory.stamps_bytes() + memory.regions() * blocks * kBlockBytes;
  // Parameters twice, moments, and a gradient for this agent at least; the rest depends on the
  // batch.
  const std::uint64_t needed = memory.regions() * blocks * kBlockBytes;
  const std::uint64_t free = available_memory();
  if (bytes > memory.mapping_.size() || needed > free) {
    return Error{
        ErrorKind::kNoMemory,
        cat("too little memory: the model needs at least ", human_bytes(double(needed)),
            " for parameters, optimizer state and one gradient, and ", human_bytes(double(free)),
            " can be had; use a smaller model or machine with more")};
  }
  for (int index = 0; index < moments; ++index) memory.stepped_.push_back(memory.moment(index));
  if (average) memory.stepped_.push_back(memory.average());
  return memory;
}

std::uint64_t StateMemory::sums_bytes() const {
  return fabric::whole_pages(blocks_ * sizeof(double));
}

std::uint64_t StateMemory::stamps_bytes() const {
  return fabric::whole_pages(blocks_ * sizeof(round::Stamp));
}

round::Stamp* StateMemory::stamps() const {
  return reinterpret_cast<round::Stamp*>(mapping_.data() + kSums * sums_bytes());
}

std::uint64_t StateMemory::check_of(std::uint64_t block, std::uint64_t round) const {
  const std::uint64_t at = block * reduce::kBlockElements;
  std::uint64_t check = reduce::sum_of_bits(parameters(round) + at, reduce::kBlockElements);
  for (std::size_t i = 0; i < stepped_.size(); ++i) {
    check += weighed(stepped_[i], i, block);
  }
  return check + residuals_check_of(block, round);
}

std::uint64_t StateMemory::residuals_check_of(std::uint64_t block, std::uint64_t round) const {
  std::uint64_t check = 0;
  for (std::size_t node = 0; node < residuals_; ++node) {
    check += weighed(residual(round, node), stepped_.size() + node, block);
  }
  return check;
}

std::vector<std::uint64_t> StateMemory::state_at(std::uint64_t round) const {
  std::vector<std::uint64_t> out;
  const auto add = [&](const void* at, std::uint64_t bytes) {
    const auto begin =
        static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - mapping_.data());
    out.insert(out.end(), {begin, bytes});
  };
  const std::uint64_t whole = blocks_ * kBlockBytes;
  // Of blocks that are stepped in the round already: who steps the others judges by all of them.
  add(gradient_sums(), blocks_ * sizeof(double));
  add(change_sums(), blocks_ * sizeof(double));
  add(checks(round), blocks_ * sizeof(std::uint64_t));
  add(stamps(), blocks_ * sizeof(round::Stamp));
  add(parameters(round), whole);
  for (const float* region : stepped_) add(region, whole);
  for (std::size_t node = 0; node < residuals_; ++node) add(residual(round, node), whole);
  return out;
}

double* StateMemory::sums(std::uint64_t index) const {
  return reinterpret_cast<double*>(mapping_.data() + index * sums_bytes());
}

float* StateMemory::region(std::uint64_t index) const {
  return reinterpret_cast<float*>(mapping_.data() + kSums * sums_bytes() + stamps_bytes() +
                                  index * blocks_ * kBlockBytes);
}

Status StateMemory::own(const std::vector<member::Slice>& slices, member::AgentId me) {
  const auto protect = [](const float* at, std::uint64_t blocks, int protection) -> Status {
    if (blocks == 0) return {};
    if (::mprotect(const_cast<float*>(at), blocks * kBlockBytes, protection) != 0) {
      return os_error("protect", "shared memory", errno);
    }
    return {};
  };
  INSTEP_RETURN_IF_ERROR(protect(region(0), regions() * blocks_, PROT_READ));
  for (const member::Slice& slice : slices) {
    if (slice.owner != me) continue;
    for (std::uint64_t index = 0; index < regions(); ++index) {
      INSTEP_RETURN_IF_ERROR(protect(region(index) + slice.first_block * reduce::kBlockElements,
                                     slice.blocks, PROT_READ | PROT_WRITE));
    }
  }
  return {};
}

}  // namespace instep::sync
