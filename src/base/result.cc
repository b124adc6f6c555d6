#include "base/result.h"

#include <cstdio>

namespace instep {

void check_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "instep: broken invariant: %s (%s:%d)\n", what, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace instep
