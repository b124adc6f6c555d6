#include "memory.h"

#include <sys/mman.h>

#include "base/result.h"

namespace instep::sim {

Memory::Memory(const Job& job, std::uint32_t slots)
    : slots_(slots),
      elements_(job.space.elements()),
      moments_(job.moments),
      control_(std::make_unique<fabric::ControlPage>()) {
  control_->magic = fabric::kHostMagic;
  control_->slots = slots;
  stamps_at_ = fabric::whole_pages(job.space.blocks() * sizeof(double));
  regions_at_ = stamps_at_ + fabric::whole_pages(job.space.blocks() * sizeof(round::Stamp));
  const std::uint64_t state = fabric::whole_pages(regions_at_ + 5 * elements_ * sizeof(float));
  mapped_ = slots * kArenaBytes + kWorldBytes + state;
  void* at = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  INSTEP_CHECK(at != MAP_FAILED, "address space for a simulated host");
  arenas_ = static_cast<std::byte*>(at);
  state_ = {arenas_ + slots * kArenaBytes + kWorldBytes, state};
}

round::StateParts Memory::state_parts(std::uint64_t round) const {
  const std::uint64_t blocks = elements_ / reduce::kBlockElements;
  round::StateParts out;
  out.at = {
      {0, blocks * sizeof(double)}, {stamps_at_, blocks * sizeof(round::Stamp)}, region(round & 1)};
  for (int i = 0; i < moments_; ++i) {
    out.at.push_back(region(kFirstMoment + static_cast<std::uint64_t>(i)));
  }
  out.next = {region((round + 1) & 1)};
  return out;
}

Memory::~Memory() { ::munmap(arenas_, mapped_); }

}  // namespace instep::sim
