// What a person sees: one live block at the bottom of a terminal, plain lines elsewhere. The
// pictures are pure functions; Display only puts them on the screen.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/host_memory.h"

namespace instep::coord {

// An agent's figures as last seen in shared memory.
struct AgentSnapshot {
  fabric::AgentState state = fabric::AgentState::kAbsent;
  bool gone = false;  // its process has ended
  std::uint32_t shards = 0;
  std::uint64_t round = 0, rounds = 0, samples = 0;
  double data_epoch = 0, loss = 0;
};
AgentSnapshot snapshot(const fabric::AgentStatus& status);

struct Picture {
  std::string name;
  double epochs = 0;   // of the whole run; 0: not known
  std::string metric;  // newest, as "accuracy 0.97"; may be empty
  std::string notice;  // e.g. that it is saving; may be empty
  double samples_per_s = 0, rounds_per_s = 0;
  std::vector<AgentSnapshot> agents;
};
// The live block, no line longer than `width`.
std::vector<std::string> render(const Picture& picture, int width);
// The same as one plain line.
std::string plain(const Picture& picture);

// Events per second, smoothed over about two seconds.
class Rate {
 public:
  // `total` so far, never falling, at `now_ns`. Returns the rate.
  double update(std::uint64_t total, std::int64_t now_ns);

 private:
  std::optional<std::int64_t> then_;
  std::uint64_t total_ = 0;
  double rate_ = 0;
  bool known_ = false;
};

std::string with_thousands(double value);  // 12345.6 -> "12,346"
std::string duration(double seconds);      // 75 -> "1:15"

class Display {
 public:
  // Writes to `out`, live if it is a terminal, nothing at all if `quiet`.
  Display(std::FILE* out, bool quiet);
  ~Display() { clear(); }
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  bool live() const { return live_; }
  // A line that stays, above the live block.
  void line(std::string_view text);
  // Draws the block anew (on a terminal only).
  void draw(const Picture& picture);
  // Takes the block away, so that something else can be printed.
  void clear();

 private:
  std::FILE* out_;
  bool quiet_, live_;
  std::size_t drawn_ = 0;  // lines of the block on the screen
};

}  // namespace instep::coord
