// How the blocks that hosts add up for all are best spread over lines of unequal rates. Pure.
//
// In a round of N numbers a host that adds up the fraction f for h hosts sends N (1 - f) of its own
// sums to those that add up the rest, and its N f to each of the h - 1 others: N (1 + f (h - 2)) in
// all, and receives as many. The round takes as long as the slowest line needs. So a host on a line
// that carries r rounds' worth (N numbers) a second, in a round of T seconds, may add up
// (T r - 1) / (h - 2), if that is more than 0; T is such that it sums up to 1. Between two hosts
// nothing can be gained: each sends N whatever it adds up.
#pragma once

#include <vector>

namespace instep::member {

// Fractions for lines of these rates, more than 0 and in any one unit: they sum up to 1, and no
// others make a shorter round. As equal as they can be where that makes no difference: what is not
// known well of fast lines then does not matter.
std::vector<double> best_slices(const std::vector<double>& rates);

// Rounds' worth that a line carries in a round, each way.
double rounds_worth(double fraction, std::size_t hosts);
// Seconds that the round's exchange takes, with rates in rounds' worth a second.
double exchange_seconds(const std::vector<double>& rates, const std::vector<double>& fractions);

}  // namespace instep::member
