// What a bridge measures of its host's line (line_meter.h), and whom it tells.
#include "base/machine.h"
#include "coord/bridge.h"

namespace instep::coord {
namespace {

// Long beside a loop's step and what a queue lets through at once, short beside a round that is
// limited by a line.
constexpr std::int64_t kLookMs = 50;

}  // namespace

fabric::Compression compression_of(const job::Job& job) {
  switch (job.links.compression) {
    case job::Compression::kAuto:
      return fabric::Compression::kAuto;
    case job::Compression::kAlways:
      return fabric::Compression::kAlways;
    case job::Compression::kNever:
      break;
  }
  return fabric::Compression::kNever;
}

// From the line-up's first round on.
void Bridge::watch_lines() {
  if (lineup_->hosts.size() < 2) return;
  meter_.begin(monotonic_ns());
  look_at_lines();
}

void Bridge::look_at_lines() {
  if (!went_ || over_ || done_) return;
  meter_.look(monotonic_ns(), peers_.flows());
  look_ = loop_.after(kLookMs, [this] { look_at_lines(); });
}

void Bridge::round_done(std::uint64_t round) {
  if (lineup_->hosts.size() < 2) return;
  auto report = meter_.round_done(monotonic_ns());
  if (!report) return;
  // Between two hosts slices make no difference.
  if (lineup_->hosts.size() > 2) plan_.tell_hub(member::to_message(lineup_->number, report->line));
  const auto mine = static_cast<double>(member::part_of(*lineup_, plan_.host)->blocks);
  const double share = ready_.blocks > 0 ? mine / static_cast<double>(ready_.blocks) : 0;
  const Peers::Given given = peers_.take_given();
  const double sent =
      given.values > 0 ? static_cast<double>(given.sent) / static_cast<double>(given.values) : 1;
  say(LinesSeen{round, share, sent, std::move(*report), names_});
}

}  // namespace instep::coord
