#include "base/large_floats.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace instep {
namespace {

constexpr std::size_t kLargePage = 2 << 20;
constexpr std::size_t kCacheLine = 64;

}  // namespace

LargeFloats large_floats(std::size_t count) {
  const std::size_t bytes = count * sizeof(float);
  const std::size_t page = bytes >= kLargePage ? kLargePage : kCacheLine;
  const std::size_t rounded = std::max(page, (bytes + page - 1) / page * page);
  LargeFloats out(static_cast<float*>(std::aligned_alloc(page, rounded)));
  if (!out) throw std::bad_alloc();
  // One that has none goes on with small ones.
  if (page == kLargePage) ::madvise(out.get(), rounded, MADV_HUGEPAGE);
  return out;
}

}  // namespace instep
