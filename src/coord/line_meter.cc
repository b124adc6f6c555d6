#include "coord/line_meter.h"

#include <algorithm>

#include "base/time.h"
#include "wire/host_message.h"

namespace instep::coord {
namespace {

// Of a report: long enough to be noise no more, short enough to say something of short runs.
constexpr double kReportSeconds = 2;
constexpr std::uint64_t kReportRounds = 2;
// Fewer full windows than that say nothing.
constexpr int kFewWindows = 6;
// The kernel counts a link's busy time in ticks of some milliseconds.
constexpr double kLeastBusySeconds = 0.02;
// Of a window.
constexpr double kBusy = 0.9, kHeld = 0.5;

// Something waits to be sent, or in a queue on the way, which shows by how long an answer takes.
bool waits(const fabric::LinkFlow& flow) {
  constexpr std::uint64_t kQueueUs = 5000;
  return flow.waiting_bytes > 0 ||
         flow.round_trip_us > std::uint64_t{2} * flow.least_round_trip_us + kQueueUs;
}

// What has come to pass on a link between two looks.
struct Window {
  double bytes = 0, busy_s = 0;
  bool full = false;
};

Window window_of(const fabric::LinkFlow& before, const fabric::LinkFlow& after, double seconds) {
  // A link that was made anew begins to count from 0.
  if (after.acked_bytes < before.acked_bytes || after.busy_us < before.busy_us) return {};
  const auto elapsed = [](std::uint64_t from_us, std::uint64_t to_us) {
    return static_cast<double>(to_us - from_us) * 1e-6;
  };
  Window out;
  out.bytes = static_cast<double>(after.acked_bytes - before.acked_bytes);
  out.busy_s = elapsed(before.busy_us, after.busy_us);
  const double held_s = elapsed(before.held_us, std::max(before.held_us, after.held_us));
  out.full =
      waits(before) && waits(after) && out.busy_s >= kBusy * seconds && held_s <= kHeld * seconds;
  return out;
}

}  // namespace

void LineMeter::begin(std::int64_t now_ns) {
  *this = LineMeter();
  counts_.since_ns = looked_ns_ = now_ns;
}

void LineMeter::look(std::int64_t now_ns, const Flows& flows) {
  const double seconds = static_cast<double>(now_ns - looked_ns_) / kSecond;
  const Flows before = std::exchange(before_, flows);
  looked_ns_ = now_ns;
  if (seconds <= 0 || flows.empty()) return;
  std::map<std::uint32_t, Window> windows;
  double bytes = 0;
  bool line_full = true;
  for (const auto& [host, flow] : flows) {
    const auto known = before.find(host);
    const Window& window = windows[host] =
        known == before.end() ? Window() : window_of(known->second, flow, seconds);
    bytes += window.bytes;
    line_full = line_full && window.full;
  }
  for (const auto& [host, window] : windows) {
    Link& link = counts_.links[host];
    link.sent += window.bytes;
    link.busy_s += window.busy_s;
    link.round_trip_s = flows.at(host).least_round_trip_us * 1e-6;
    if (!window.full) continue;
    link.full_bytes += window.bytes;
    link.full_s += seconds;
    if (!line_full) ++link.slow_windows;
  }
  counts_.most = std::max(counts_.most, bytes / seconds);
  if (!line_full) return;
  counts_.full_bytes += bytes;
  counts_.full_s += seconds;
  ++counts_.full_windows;
}

std::optional<LineReport> LineMeter::round_done(std::int64_t now_ns) {
  ++counts_.rounds;
  const double seconds = static_cast<double>(now_ns - counts_.since_ns) / kSecond;
  if (counts_.rounds < kReportRounds || seconds < kReportSeconds) return std::nullopt;
  LineReport out = report(seconds);
  counts_ = Counts();
  counts_.since_ns = now_ns;
  return out;
}

LineReport LineMeter::report(double seconds) const {
  LineReport out;
  const auto rounds = static_cast<double>(counts_.rounds);
  out.line.round_s = seconds / rounds;
  out.line.full = counts_.full_windows >= kFewWindows;
  out.line.rate = out.line.full ? counts_.full_bytes / counts_.full_s : counts_.most;
  for (const auto& [host, link] : counts_.links) {
    out.line.sent += link.sent / rounds;
    LinkSeen& seen = out.links.emplace_back(LinkSeen{host, link.round_trip_s, {}});
    if (link.busy_s >= kLeastBusySeconds) seen.rate = link.sent / link.busy_s;
    if (link.slow_windows < kFewWindows) continue;
    out.line.slow.emplace_back(host, link.full_bytes / link.full_s);
  }
  auto& slow = out.line.slow;
  std::sort(slow.begin(), slow.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  slow.resize(std::min(slow.size(), wire::kMostSlow));
  return out;
}

}  // namespace instep::coord
