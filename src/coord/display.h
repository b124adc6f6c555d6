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
  bool gone = false;  // its process has ended, or there never was one
  int slot = -1;      // -1: its place in the list
  std::uint32_t shards = 0;
  std::uint64_t round = 0, rounds = 0, samples = 0;
  double data_epoch = 0, loss = 0;
  double waited_s = 0;              // for others, in all
  std::optional<double> computing;  // share of its time, when that is known
};
AgentSnapshot snapshot(const fabric::AgentStatus& status);

struct Picture {
  std::string name;
  double epochs = 0;   // of the whole run; 0: not known
  std::string metric;  // newest, as "accuracy 0.97"; may be empty
  std::string notice;  // e.g. that it is saving; may be empty
  std::string left;    // the time left in words; empty while it is not known
  double samples_per_s = 0;
  std::vector<AgentSnapshot> agents;
};
// The live block, at most `height` lines (at least one) of at most `width` columns: the run, and a
// line an agent; those for whom there is no room are summed up in one.
std::vector<std::string> render(const Picture& picture, int width, int height);
// The same as one plain line.
std::string plain(const Picture& picture);
// Lines of a terminal `width` columns wide that lines of so many columns take, which were drawn
// when it was wider.
int rows_on_screen(const std::vector<int>& columns, int width);

std::string with_thousands(double value);  // 12345.6 -> "12,346"

class Display {
 public:
  // Writes to `out`, live if it is a terminal that can move its cursor, nothing at all if `quiet`.
  Display(std::FILE* out, bool quiet);
  ~Display() { clear(); }
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  bool live() const { return live_; }
  // A line that stays, above the live block.
  void line(std::string_view text);
  // Draws the block anew (on a terminal only). The cursor stays visible and is left below it, so
  // that a run that is killed leaves a terminal in order.
  void draw(const Picture& picture);
  // Takes the block away, so that something else can be printed.
  void clear();

 private:
  std::FILE* out_;
  bool quiet_, live_;
  std::vector<int> drawn_;  // columns of the block's lines on the screen
};

}  // namespace instep::coord
