#include "model/arena_allocator.h"

#include <c10/core/CPUAllocator.h>

#include <cstring>

namespace instep::model {
namespace {

fabric::Arena* the_arena = nullptr;

void give_back(void* block) { the_arena->give_back(block); }

class ArenaAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &give_back, cpu};
    void* block = the_arena->take(bytes);
    TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, "an agent's arena has no room for ", bytes,
                     " bytes more (", the_arena->high_water(), " in use)");
    return {block, block, &give_back, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

}  // namespace

void install_arena(fabric::Arena& arena) {
  static ArenaAllocator allocator;
  the_arena = &arena;
  constexpr std::uint8_t kAboveDefault = 100;
  c10::SetCPUAllocator(&allocator, kAboveDefault);
}

}  // namespace instep::model
