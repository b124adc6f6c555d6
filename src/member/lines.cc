#include "member/lines.h"

#include <algorithm>
#include <map>

#include "member/slices.h"

namespace instep::member {
namespace {

// Of a round's time. Less would not pay for the halt, and for what is measured wrongly.
constexpr double kWorthwhile = 0.15;
constexpr std::uint32_t kAgree = 5;
// The line that all wait for beside any other. Of three lines one must be slower by 1.26 before its
// host adds up less, so what is alike is not parted again.
constexpr double kAlike = 1.15;
// Of three lines one that has recovered can save a ninth of the exchange.
constexpr double kWorthwhileEven = 0.05;

bool usable(const LineSeen& seen) { return seen.round_s > 0 && seen.sent > 0 && seen.rate > 0; }

// What others say of the way to a host: how many do, and bytes a second of all of them.
struct Named {
  double times = 0;
  double rate = 0;
};

std::map<HostId, Named> named_slow(const std::vector<Line>& lines) {
  std::map<HostId, Named> out;
  for (const Line& line : lines) {
    for (const auto& [host, rate] : line.seen.slow) {
      if (!(rate > 0)) continue;
      ++out[host].times;
      out[host].rate += rate;
    }
  }
  return out;
}

// Bytes a second that the line carries, where it is the limit.
std::optional<double> limit_of(const LineSeen& seen, const Named& named, double others) {
  std::optional<double> out;
  if (seen.full) out = seen.rate;
  // Where a minority names it, the ways to it are thin, and not its line.
  if (named.times * 2 <= others) return out;
  const double inward = named.rate * others / named.times;
  return std::min(out.value_or(inward), inward);
}

double line_seconds(const Line& line, double rate, std::size_t hosts) {
  return rounds_worth(line.fraction, hosts) / rate;
}

}  // namespace

std::optional<Judgement> judge(const std::vector<Line>& lines) {
  const std::size_t hosts = lines.size();
  const bool all =
      std::all_of(lines.begin(), lines.end(), [](const Line& it) { return usable(it.seen); });
  if (hosts <= 2 || !all) return std::nullopt;
  std::map<HostId, Named> named = named_slow(lines);
  Judgement out;
  std::vector<double> rates;
  for (std::size_t k = 0; k < hosts; ++k) {
    const Line& line = lines[k];
    const auto limit = limit_of(line.seen, named[line.host], static_cast<double>(hosts) - 1);
    const double bytes_s = limit.value_or(line.seen.rate);
    rates.push_back(bytes_s * rounds_worth(line.fraction, hosts) / line.seen.sent);
    out.round_s += line.seen.round_s / static_cast<double>(hosts);
    const double seconds = line_seconds(line, rates[k], hosts);
    if (!limit || seconds <= out.now_s) continue;
    out.now_s = seconds;
    out.slowest = k;
    out.bytes_s = bytes_s;
  }
  if (out.now_s == 0) return std::nullopt;
  return with_rates(std::move(out), lines, std::move(rates));
}

Judgement with_rates(Judgement judgement, const std::vector<Line>& lines,
                     std::vector<double> rates) {
  const std::size_t slowest = judgement.slowest;
  // A line cannot take longer than the round that it is part of.
  judgement.now_s =
      std::min(judgement.round_s, line_seconds(lines[slowest], rates[slowest], lines.size()));
  judgement.next_s = exchange_seconds(rates, best_slices(rates));
  judgement.rates = std::move(rates);
  return judgement;
}

void suspect(Suspicion& suspicion, const std::vector<Line>& lines,
             const std::optional<Judgement>& judgement) {
  if (!judgement || judgement->gain() < kWorthwhile) {
    suspicion = {};
    return;
  }
  const std::size_t slowest = judgement->slowest;
  if (suspicion.times == 0 || suspicion.slowest != lines[slowest].host) {
    suspicion = {lines[slowest].host, 1, judgement->rates};
    return;
  }
  ++suspicion.times;
  for (std::size_t k = 0; k < lines.size(); ++k) {
    double& rate = suspicion.rates[k];
    rate = k == slowest ? std::max(rate, judgement->rates[k]) : std::min(rate, judgement->rates[k]);
  }
}

std::optional<Judgement> even_again(const std::vector<Line>& lines, const Judgement& judgement) {
  // The slowest one's for all, so that noise gains nothing; that others may be faster does not
  // matter here.
  const double rate = judgement.rates[judgement.slowest];
  const double least = *std::min_element(judgement.rates.begin(), judgement.rates.end());
  if (rate > kAlike * least) return std::nullopt;
  const auto hosts = static_cast<double>(lines.size());
  Judgement out = judgement;
  out.rates.assign(lines.size(), rate);
  out.now_s = std::min(out.round_s, line_seconds(lines[out.slowest], rate, lines.size()));
  out.next_s = exchange_seconds(out.rates, std::vector<double>(lines.size(), 1 / hosts));
  if (out.gain() < kWorthwhileEven) return std::nullopt;
  return out;
}

bool convinced_of_even(std::uint32_t times) { return times >= kAgree; }

std::optional<Judgement> convinced(const Suspicion& suspicion, const std::vector<Line>& lines,
                                   const Judgement& newest) {
  if (suspicion.times < kAgree) return std::nullopt;
  Judgement out = with_rates(newest, lines, suspicion.rates);
  if (out.gain() < kWorthwhile) return std::nullopt;
  return out;
}

wire::HostMeasured to_message(std::uint32_t number, const LineSeen& seen) {
  wire::HostMeasured out;
  out.number = number;
  out.round_us = static_cast<std::uint64_t>(seen.round_s * 1e6);
  out.sent = static_cast<std::uint64_t>(seen.sent);
  out.rate = static_cast<std::uint64_t>(seen.rate);
  out.full = seen.full;
  for (const auto& [host, rate] : seen.slow) {
    out.slow.push_back(host);
    out.slow_rates.push_back(static_cast<std::uint64_t>(rate));
  }
  return out;
}

LineSeen from_message(const wire::HostMeasured& message) {
  LineSeen out;
  out.round_s = static_cast<double>(message.round_us) * 1e-6;
  out.sent = static_cast<double>(message.sent);
  out.rate = static_cast<double>(message.rate);
  out.full = message.full;
  const std::size_t slow =
      std::min({message.slow.size(), message.slow_rates.size(), wire::kMostSlow});
  for (std::size_t k = 0; k < slow; ++k) {
    out.slow.emplace_back(message.slow[k], static_cast<double>(message.slow_rates[k]));
  }
  return out;
}

}  // namespace instep::member
