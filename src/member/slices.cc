#include "member/slices.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "base/result.h"

namespace instep::member {

namespace {

// Beside the fastest a line slower than this carries nothing.
constexpr double kLeastRate = 1e-12;

// Seconds of a round on the best slices: all lines together carry what all hosts send, 2 (h - 1)
// rounds' worth, and each its host's own sums at the least.
double shortest_round(const std::vector<double>& rates) {
  const double all = std::accumulate(rates.begin(), rates.end(), 0.0);
  const double least = *std::min_element(rates.begin(), rates.end());
  return std::max(2 * (static_cast<double>(rates.size()) - 1) / all, 1 / least);
}

}  // namespace

std::vector<double> best_slices(const std::vector<double>& rates) {
  const std::size_t hosts = rates.size();
  INSTEP_CHECK(hosts > 0, "somebody adds up");
  std::vector<double> out(hosts, 1.0 / static_cast<double>(hosts));
  if (hosts <= 2) return out;
  const double fastest = *std::max_element(rates.begin(), rates.end());
  std::vector<double> relative;
  for (const double rate : rates) relative.push_back(std::max(rate / fastest, kLeastRate));
  std::vector<std::size_t> order(hosts);  // from the slowest on
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&relative](std::size_t a, std::size_t b) {
    return std::pair(relative[a], a) < std::pair(relative[b], b);
  });
  const double seconds = shortest_round(relative);
  // As much as all that come behind it get, but no more than there is time for.
  double left = 1;
  auto waiting = static_cast<double>(hosts);
  for (const std::size_t k : order) {
    const double room = (seconds * relative[k] - 1) / static_cast<double>(hosts - 2);
    out[k] = std::clamp(left / waiting--, 0.0, std::max(0.0, room));
    left -= out[k];
  }
  return out;
}

double rounds_worth(double fraction, std::size_t hosts) {
  return 1 + fraction * (static_cast<double>(hosts) - 2);
}

double exchange_seconds(const std::vector<double>& rates, const std::vector<double>& fractions) {
  double out = 0;
  for (std::size_t k = 0; k < rates.size(); ++k) {
    out = std::max(out, rounds_worth(fractions[k], rates.size()) / rates[k]);
  }
  return out;
}

}  // namespace instep::member
