#include "coord/display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

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

// "0-3 training, 4 standing by": neighbours in one state together.
std::string agents_line(const std::vector<AgentSnapshot>& agents) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < agents.size();) {
    const std::string words = state_words(agents[begin]);
    std::size_t end = begin + 1;
    while (end < agents.size() && state_words(agents[end]) == words) ++end;
    parts.push_back(end - begin == 1 ? cat(begin, " ", words)
                                     : cat(begin, "-", end - 1, " ", words));
    begin = end;
  }
  return cat("agents: ", join(parts, ", "));
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
  if (picture.rounds_per_s > 0 && all.rounds > all.round) {
    const double left = static_cast<double>(all.rounds - all.round) / picture.rounds_per_s;
    out.push_back(cat("ETA ", duration(left)));
  }
  return out;
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
  return out;
}

std::vector<std::string> render(const Picture& picture, int width) {
  const Whole all = whole(picture.agents);
  std::vector<std::string> lines;
  const double share =
      all.rounds == 0 ? 0.0 : std::min(1.0, static_cast<double>(all.round) / double(all.rounds));
  constexpr int kBar = 24;
  const int filled = static_cast<int>(share * kBar);
  lines.push_back(cat(picture.name, "  ", epoch_words(all, picture.epochs), "  [",
                      std::string(static_cast<std::size_t>(filled), '#'),
                      std::string(static_cast<std::size_t>(kBar - filled), '-'), "] ",
                      number(100 * share, 0), "%  round ", all.round, "/", all.rounds));
  const std::vector<std::string> numbers = figures(picture, all);
  if (!numbers.empty()) lines.push_back("  " + join(numbers, "  "));
  lines.push_back("  " + agents_line(picture.agents));
  if (!picture.notice.empty()) lines.push_back("  " + picture.notice);
  for (std::string& line : lines) {
    if (line.size() > static_cast<std::size_t>(width)) line.resize(static_cast<std::size_t>(width));
  }
  return lines;
}

std::string plain(const Picture& picture) {
  const Whole all = whole(picture.agents);
  std::vector<std::string> parts = {epoch_words(all, picture.epochs),
                                    cat("round ", all.round, "/", all.rounds)};
  for (std::string& part : figures(picture, all)) parts.push_back(std::move(part));
  return join(parts, "  ");
}

double Rate::update(std::uint64_t total, std::int64_t now_ns) {
  constexpr double kWindow = 2.0;
  if (then_ && now_ns > *then_) {
    const double seconds = static_cast<double>(now_ns - *then_) * 1e-9;
    const double newest = total > total_ ? static_cast<double>(total - total_) / seconds : 0.0;
    const double weight = 1.0 - std::exp(-seconds / kWindow);
    if (known_) {
      rate_ += weight * (newest - rate_);
    } else if (total > total_) {
      rate_ = newest;
      known_ = true;
    }
  }
  then_ = now_ns;
  total_ = std::max(total_, total);
  return rate_;
}

std::string with_thousands(double value) {
  std::string digits = number(std::floor(value + 0.5), 0);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    if (digits[at - 1] != '-') digits.insert(at, ",");
  }
  return digits;
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::clamp(seconds + 0.5, 0.0, 3.6e9));
  const auto two = [](std::int64_t value) { return cat(value < 10 ? "0" : "", value); };
  const std::int64_t minutes = whole / 60;
  if (minutes < 60) return cat(minutes, ":", two(whole % 60));
  return cat(minutes / 60, ":", two(minutes % 60), ":", two(whole % 60));
}

Display::Display(std::FILE* out, bool quiet)
    : out_(out), quiet_(quiet), live_(!quiet && ::isatty(::fileno(out)) != 0) {}

void Display::line(std::string_view text) {
  if (quiet_) return;
  clear();
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fputc('\n', out_);
  std::fflush(out_);
}

void Display::draw(const Picture& picture) {
  if (!live_) return;
  winsize size{};
  const int width =
      ::ioctl(::fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  const std::vector<std::string> lines = render(picture, width - 1);
  std::string text;
  if (drawn_ > 0) text = cat("\x1b[", drawn_, "A");
  for (const std::string& line : lines) text += cat("\r", line, "\x1b[K\n");
  text += "\x1b[J";  // what is left of a longer block
  drawn_ = lines.size();
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

void Display::clear() {
  if (drawn_ == 0) return;
  const std::string text = cat("\x1b[", drawn_, "A\r\x1b[J");
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
  drawn_ = 0;
}

}  // namespace instep::coord
