// What hosts measure of their lines, and what another spread of the slices (slices.h) would gain.
// Pure.
//
// A line's rate is known where the line was the limit: the host's own way out was full, or most of
// the others could have sent to it faster by their lines. Of any other line only what it has
// carried is known; it may carry more, so rounds get shorter by at least what is reckoned here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "member/lineup.h"
#include "wire/host_message.h"

namespace instep::member {

struct LineSeen {
  double round_s = 0;  // from a round's beginning to the next one's
  double sent = 0;     // bytes a round, to all others
  double rate = 0;     // bytes a second that the line has carried
  bool full = false;   // it carries no more than that
  // Hosts to which it could have sent faster by its own line, and bytes a second that went there.
  std::vector<std::pair<HostId, double>> slow;
};

// What a host saw under a line-up on the wire, and back: of lists that differ in length or are too
// long as much as there should be.
wire::HostMeasured to_message(std::uint32_t number, const LineSeen& seen);
LineSeen from_message(const wire::HostMeasured& message);

struct Line {
  HostId host = 0;
  double fraction = 0;  // of the slices that it adds up now
  LineSeen seen;
};

struct Judgement {
  std::size_t slowest = 0;  // place of the host that all wait for
  double bytes_s = 0;       // that its line carries
  double round_s = 0;
  std::vector<double> rates;  // rounds' worth a second
  double now_s = 0;           // of a round that the slowest one's line takes
  double next_s = 0;          // that the exchange takes on the best slices for the rates
  double gain() const { return (now_s - next_s) / round_s; }
};

// Of all hosts of a line-up. Nothing where no line is the limit, and where there is nothing to gain
// whatever they are like: between two hosts.
std::optional<Judgement> judge(const std::vector<Line>& lines);
// The same with other rates.
Judgement with_rates(Judgement judgement, const std::vector<Line>& lines,
                     std::vector<double> rates);

// Judgements in a row that the same host is the slowest, and that others ought to add up for it.
struct Suspicion {
  HostId slowest = 0;
  std::uint32_t times = 0;
  std::vector<double> rates;  // the slowest one's best, the others' worst
};
// One more judgement; another host than before, or too little to gain, begins again.
void suspect(Suspicion& suspicion, const std::vector<Line>& lines,
             const std::optional<Judgement>& judgement);
// What is sure enough to halt for: it holds at the slowest one's best and the others' worst.
std::optional<Judgement> convinced(const Suspicion& suspicion, const std::vector<Line>& lines,
                                   const Judgement& newest);

// Lines that are alike again while slices are not: even ones, which need not save as much as
// others, since a line that has recovered leaves less to gain than it has cost. Nothing where lines
// are not alike within what is measured wrongly, and where it would not pay for the halt.
std::optional<Judgement> even_again(const std::vector<Line>& lines, const Judgement& judgement);
// Of these in a row.
bool convinced_of_even(std::uint32_t times);

}  // namespace instep::member
