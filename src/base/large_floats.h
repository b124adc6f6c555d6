// Memory for many floats, not set to anything. From 2 MiB on in pages of 2 MiB, if the kernel gives
// such: 100 MB are 25,000 pages of 4 KiB otherwise, and to take or give back so many costs tens of
// milliseconds each time, which hosts wait for after a death.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace instep {

struct FreeFloats {
  void operator()(float* at) const { std::free(at); }
};
using LargeFloats = std::unique_ptr<float[], FreeFloats>;

// Throws std::bad_alloc as new does.
LargeFloats large_floats(std::size_t count);

}  // namespace instep
