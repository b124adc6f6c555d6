// What a host measures of its line to the others of its run: from what its links say now and then,
// in windows between two looks, and from the rounds that were done meanwhile. Pure.
//
// A link is full in a window if something was on its way all the time, something waited at both
// ends of the window, here or in a queue on the way, and the other end was not what held it up. The
// line is full in windows in which all links are: what they carry together is what it carries. A
// link that is full where the line is not is slow for another reason, which lies at the other end
// or between.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "fabric/tls_link.h"
#include "member/lines.h"

namespace instep::coord {

struct LinkSeen {
  std::uint32_t host = 0;
  double round_trip_s = 0;
  // Bytes a second while it had something to send; nothing if that was too short a time to tell.
  std::optional<double> rate;
};

struct LineReport {
  member::LineSeen line;
  std::vector<LinkSeen> links;  // ascending by host
};

class LineMeter {
 public:
  using Flows = std::map<std::uint32_t, fabric::LinkFlow>;  // by host

  // Forgets what was.
  void begin(std::int64_t now_ns);
  void look(std::int64_t now_ns, const Flows& flows);
  // A round is done. Now and then there is a report, of whole rounds.
  std::optional<LineReport> round_done(std::int64_t now_ns);

 private:
  struct Link {
    double sent = 0, busy_s = 0;
    double full_bytes = 0, full_s = 0;
    int slow_windows = 0;  // it was full, and the line was not
    double round_trip_s = 0;
  };
  // Since the last report.
  struct Counts {
    std::int64_t since_ns = 0;
    std::uint64_t rounds = 0;
    std::map<std::uint32_t, Link> links;
    double full_bytes = 0, full_s = 0, most = 0;
    int full_windows = 0;
  };
  LineReport report(double seconds) const;

  Counts counts_;
  // The last look.
  std::int64_t looked_ns_ = 0;
  Flows before_;
};

}  // namespace instep::coord
