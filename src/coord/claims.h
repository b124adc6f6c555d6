// Which processors a launcher's agents take, when other launchers on the machine take some too:
// each holds a claim on its processors, so that two runs of one agent do not share processor 0.
#pragma once

#include <cstddef>
#include <vector>

#include "base/file.h"

namespace instep::coord {

class CpuClaims {
 public:
  // Claims `count` of the `usable` processors, those that nobody has claimed first. Claims are
  // bound abstract Unix sockets: they have no file, and go with the process however it ends.
  static CpuClaims take(const std::vector<int>& usable, std::size_t count);

  // All usable ones: those claimed here, then those that nobody asked for, then other runs'.
  const std::vector<int>& order() const { return order_; }

 private:
  std::vector<int> order_;
  std::vector<Fd> claims_;
};

}  // namespace instep::coord
