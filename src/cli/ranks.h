// Which of a launcher's processes this is, by the variables that torchrun, mpirun (Open MPI) and
// srun set.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace instep::cli {

struct Rank {
  std::string launcher;  // "torchrun", "mpirun" or "srun"
  std::uint32_t rank = 0, size = 1;
  std::uint32_t local_rank = 0, local_size = 1;  // on this host
  std::string job;                               // tells this host's jobs of that launcher apart
  std::string run;  // tells that launcher's jobs apart, and is the same on all hosts
  bool on_one_host() const { return size == local_size; }
  bool operator==(const Rank&) const = default;
};

// A variable's text; none: it is not set.
using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment environment();
// A variable's text as a number.
Result<std::uint32_t> number_of(const char* name, const std::string& text);

// An Error that names the variables where they are missing, half set, or at odds with each other.
Result<Rank> read_rank(const Environment& variables);

}  // namespace instep::cli
