#include "coord/display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "base/utf8.h"

namespace instep::coord {
namespace {

using fabric::AgentState;

std::string state_words(const AgentSnapshot& agent) {
  if (agent.gone && agent.state != AgentState::kDone) return "gone";
  switch (agent.state) {
    case AgentState::kAbsent:
    case AgentState::kStarting:
      return "starting";
    case AgentState::kReady:
      return agent.shards == 0 ? "standing by" : "ready";
    case AgentState::kTraining:
      return agent.shards == 0 ? "standing by" : "training";
    case AgentState::kEvaluating:
      return "evaluating";
    case AgentState::kDone:
      return "done";
  }
  return "";
}

std::size_t slot_of(const std::vector<AgentSnapshot>& agents, std::size_t place) {
  const int slot = agents[place].slot;
  return slot < 0 ? place : static_cast<std::size_t>(slot);
}

// "agents 1-3 training, 4 standing by", from agent `first` on: neighbours in one state together.
std::string summary_line(const std::vector<AgentSnapshot>& agents, std::size_t first) {
  std::vector<std::string> parts;
  for (std::size_t begin = first; begin < agents.size();) {
    const std::string words = state_words(agents[begin]);
    std::size_t end = begin + 1;
    const std::size_t from = slot_of(agents, begin);
    while (end < agents.size() && state_words(agents[end]) == words &&
           slot_of(agents, end) == from + (end - begin)) {
      ++end;
    }
    parts.push_back(end - begin == 1 ? cat(from, " ", words)
                                     : cat(from, "-", from + (end - begin) - 1, " ", words));
    begin = end;
  }
  return cat("  agents ", join(parts, ", "));
}

std::string bar(double share, int cells) {
  const auto filled = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * cells);
  return cat("[", std::string(filled, '#'),
             std::string(static_cast<std::size_t>(cells) - filled, '-'), "]");
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string space(text.size() < width ? width - text.size() : 0, ' ');
  return right ? space + text : text + space;
}

// "  agent  3  training    2 shards  [######--]  83% computing    12,345 samples"
std::string agent_line(std::size_t number_of_it, const AgentSnapshot& agent, bool two_digits) {
  constexpr std::size_t kState = 11;
  constexpr std::size_t kShards = 9;
  constexpr std::size_t kSamples = 10;
  constexpr int kCells = 8;
  std::string out = cat("  agent ", padded(cat(number_of_it), two_digits ? 2 : 1, true), "  ",
                        padded(state_words(agent), kState, false));
  if (agent.shards == 0) return out.erase(out.find_last_not_of(' ') + 1);
  out += padded(cat(agent.shards, agent.shards == 1 ? " shard " : " shards"), kShards, true);
  out += agent.computing ? cat("  ", bar(*agent.computing, kCells), " ",
                               padded(number(100 * *agent.computing, 0), 3, true), "% computing")
                         : std::string(2 + kCells + 2 + 1 + 3 + 11, ' ');
  const std::string samples = with_thousands(static_cast<double>(agent.samples));
  return cat(out, "  ", padded(samples, kSamples, true), " samples");
}

struct Whole {
  std::uint64_t round = 0, rounds = 0;
  double data_epoch = 0, loss = std::nan("");
};

// The run's figures from its agents': the one farthest on speaks for all.
Whole whole(const std::vector<AgentSnapshot>& agents) {
  Whole out;
  for (const AgentSnapshot& agent : agents) {
    out.rounds = std::max(out.rounds, agent.rounds);
    if (agent.round == 0 || agent.round < out.round) continue;
    out.round = agent.round;
    out.data_epoch = std::max(out.data_epoch, agent.data_epoch);
    out.loss = agent.loss;
  }
  return out;
}

std::string epoch_words(const Whole& all, double epochs) {
  return epochs > 0 ? cat("epoch ", number(all.data_epoch, 2), "/", number(epochs, 0))
                    : cat("epoch ", number(all.data_epoch, 2));
}

std::vector<std::string> figures(const Picture& picture, const Whole& all) {
  std::vector<std::string> out;
  if (!std::isnan(all.loss)) out.push_back(cat("loss ", number(all.loss, 4)));
  if (!picture.metric.empty()) out.push_back(picture.metric);
  if (picture.samples_per_s > 0) {
    out.push_back(cat(with_thousands(picture.samples_per_s), " samples/s"));
  }
  if (!picture.left.empty()) out.push_back(cat("ETA ", picture.left));
  return out;
}

// A terminal, and one that knows how to move its cursor.
bool can_redraw(std::FILE* out) {
  const char* term = std::getenv("TERM");
  return term != nullptr && *term != '\0' && std::strcmp(term, "dumb") != 0 &&
         ::isatty(::fileno(out)) != 0;
}

struct Size {
  int width = 80, height = 24;
};

Size size_of(std::FILE* out) {
  winsize found{};
  Size size;
  if (::ioctl(::fileno(out), TIOCGWINSZ, &found) != 0) return size;
  if (found.ws_col > 0) size.width = found.ws_col;
  if (found.ws_row > 0) size.height = found.ws_row;
  return size;
}

// Moves the cursor from below a block to its first line, also where the terminal was made narrower
// since and has wrapped it.
std::string to_its_top(const std::vector<int>& drawn, int width) {
  return drawn.empty() ? "" : cat("\x1b[", rows_on_screen(drawn, width), "A");
}

}  // namespace

AgentSnapshot snapshot(const fabric::AgentStatus& status) {
  constexpr auto kRelaxed = std::memory_order_relaxed;  // for people; each figure by itself
  AgentSnapshot out;
  const std::uint32_t state = status.state.load(kRelaxed);
  out.state = state <= static_cast<std::uint32_t>(AgentState::kDone)
                  ? static_cast<AgentState>(state)
                  : AgentState::kAbsent;
  out.shards = status.shards.load(kRelaxed);
  out.round = status.round.load(kRelaxed);
  out.rounds = status.rounds.load(kRelaxed);
  out.samples = status.samples.load(kRelaxed);
  out.data_epoch = status.data_epoch.load(kRelaxed);
  out.loss = status.loss.load(kRelaxed);
  out.waited_s = status.waited_seconds.load(kRelaxed);
  return out;
}

std::vector<std::string> render(const Picture& picture, int width, int height) {
  const Whole all = whole(picture.agents);
  const double share =
      all.rounds == 0 ? 0.0 : std::min(1.0, static_cast<double>(all.round) / double(all.rounds));
  constexpr int kCells = 24;
  std::vector<std::string> lines = {cat(picture.name, "  ", epoch_words(all, picture.epochs), "  ",
                                        bar(share, kCells), " ", number(100 * share, 0),
                                        "%  round ", all.round, "/", all.rounds)};
  const std::vector<std::string> numbers = figures(picture, all);
  if (!numbers.empty()) lines.push_back("  " + join(numbers, "  "));
  // What is asked of the person is more than what an agent does.
  if (!picture.notice.empty()) lines.push_back("  " + picture.notice);
  const std::size_t agents = picture.agents.size();
  const std::size_t most = static_cast<std::size_t>(std::max(1, height));
  const std::size_t room = most > lines.size() ? most - lines.size() : 0;
  const std::size_t shown = agents <= room ? agents : room > 0 ? room - 1 : 0;
  constexpr std::size_t kOneDigit = 9;
  const bool two_digits = agents > 0 && slot_of(picture.agents, agents - 1) > kOneDigit;
  for (std::size_t i = 0; i < shown; ++i) {
    lines.push_back(agent_line(slot_of(picture.agents, i), picture.agents[i], two_digits));
  }
  if (shown < agents) lines.push_back(summary_line(picture.agents, shown));
  if (lines.size() > most) lines.resize(most);
  for (std::string& line : lines) line = fit(line, width);
  return lines;
}

std::string plain(const Picture& picture) {
  const Whole all = whole(picture.agents);
  std::vector<std::string> parts = {epoch_words(all, picture.epochs),
                                    cat("round ", all.round, "/", all.rounds)};
  for (std::string& part : figures(picture, all)) parts.push_back(std::move(part));
  return join(parts, "  ");
}

int rows_on_screen(const std::vector<int>& columns, int width) {
  int rows = 0;
  for (const int count : columns) rows += std::max(1, (count + width - 1) / std::max(1, width));
  return rows;
}

std::string with_thousands(double value) {
  std::string digits = number(std::floor(value + 0.5), 0);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    if (digits[at - 1] != '-') digits.insert(at, ",");
  }
  return digits;
}

Display::Display(std::FILE* out, bool quiet)
    : out_(out), quiet_(quiet), live_(!quiet && can_redraw(out)) {}

void Display::line(std::string_view text) {
  if (quiet_) return;
  clear();
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fputc('\n', out_);
  std::fflush(out_);
}

void Display::draw(const Picture& picture) {
  if (!live_) return;
  const Size size = size_of(out_);
  // The cursor stands below the block, and a line as wide as the terminal would wrap.
  const std::vector<std::string> lines = render(picture, size.width - 1, size.height - 1);
  std::string text = to_its_top(drawn_, size.width);
  drawn_.clear();
  for (const std::string& line : lines) {
    text += cat("\r", line, "\x1b[K\n");
    drawn_.push_back(columns(line));
  }
  text += "\x1b[J";  // what is left of a longer block
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

void Display::clear() {
  if (drawn_.empty()) return;
  const std::string text = cat(to_its_top(drawn_, size_of(out_).width), "\r\x1b[J");
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
  drawn_.clear();
}

}  // namespace instep::coord
