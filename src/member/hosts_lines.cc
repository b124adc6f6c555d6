// How slices go by the hosts' lines (lines.h), once a run is under way.
#include <utility>

#include "member/hosts_step.h"
#include "member/slices.h"

namespace instep::member {
namespace {

// From one spread to the next at the least, and twice as long each time: lines that come and go are
// not followed for ever.
constexpr Nanoseconds kRest = 30'000'000'000;
constexpr std::uint32_t kMostDoublings = 7;

double fraction_of(const Lineup& lineup, const HostPart& part) {
  const HostPart& last = lineup.hosts.back();
  const auto blocks = static_cast<double>(last.first_block + last.blocks);
  return blocks > 0 ? static_cast<double>(part.blocks) / blocks : 0;
}

std::string percent(double fraction) { return cat(number(100 * fraction, 0), " %"); }

}  // namespace

void HostsStep::on(HostMeasured& event) {
  HostLife* it = find(event.host);
  if (it == nullptr || state_.phase != HostsPhase::kRunning) return;
  if (event.number == state_.number) it->seen = std::move(event.seen);
}

void HostsStep::forget_lines() {
  for (auto& [host, it] : state_.hosts) it.seen.reset();
  state_.suspicion = {};
  state_.alike = 0;
}

void HostsStep::rest() {
  state_.weigh_again_at = now_ + (kRest << std::min(state_.weighed++, kMostDoublings));
}

void HostsStep::spread_evenly(const Judgement& even) {
  for (auto& [host, it] : state_.hosts) it.line.reset();
  rest();
  tell("slices", "line",
       cat("the hosts' lines are alike again; all add up as much as each other from now on, and a "
           "round of ",
           number(even.round_s, 2), " s gets about ", number(even.now_s - even.next_s, 2),
           " s shorter"));
  halt(std::nullopt);
}

// Once all have said something new.
void HostsStep::weigh() {
  if (!all([](const HostLife& it) { return it.seen.has_value() && !it.done; })) return;
  std::vector<Line> lines;
  for (const HostPart& part : state_.lineup->hosts) {
    HostLife& it = *find(part.host);
    lines.push_back({part.host, fraction_of(*state_.lineup, part), *std::exchange(it.seen, {})});
  }
  const std::optional<Judgement> judgement = judge(lines);
  suspect(state_.suspicion, lines, judgement);
  const auto even = judgement ? even_again(lines, *judgement) : std::nullopt;
  state_.alike = even ? state_.alike + 1 : 0;
  if (!judgement || now_ < state_.weigh_again_at) return;
  const auto sure = convinced(state_.suspicion, lines, *judgement);
  if (!sure) {
    if (convinced_of_even(state_.alike)) spread_evenly(*even);
    return;
  }
  for (std::size_t k = 0; k < lines.size(); ++k) find(lines[k].host)->line = sure->rates[k];
  rest();
  const Line& slowest = lines[sure->slowest];
  tell("slices", "line",
       cat("host ", find(slowest.host)->entry.name, " has the slowest line, ",
           number(sure->bytes_s * 1e-6, 2), " MB/s, and added up ", percent(slowest.fraction),
           " of the sums for all; it adds up ", percent(best_slices(sure->rates)[sure->slowest]),
           " from now on, and a round of ", number(sure->round_s, 2), " s gets about ",
           number(sure->now_s - sure->next_s, 2), " s shorter"));
  halt(std::nullopt);
}

}  // namespace instep::member
