// What RUN/metrics.jsonl and RUN/events.jsonl (docs/report.md) hold, as curves and marks: read line
// by line in bounded memory, whatever is in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "coord/curve.h"

namespace instep::coord {

enum class By { kRound, kEpoch, kTime };

struct Mark {
  double x = 0;
  std::string kind;    // "resume", "stop", "checkpoint failed", "skipped", …
  std::string reason;  // one line
};

struct RunRecords {
  std::string name;
  Curve loss;        // of training: now and then by time, else the mean of each epoch of data
  Curve throughput;  // samples a second
  // By name, then by set ("validation", "test", or "" where a program's name has none): with
  // "loss".
  std::map<std::string, std::map<std::string, Curve>> metrics;
  std::vector<Mark> marks;  // by x
  std::uint64_t marks_left_out = 0;
  std::vector<std::string> warnings;  // of lines that were passed over

  bool empty() const { return loss.empty() && throughput.empty() && metrics.empty(); }
};

// x: rounds, epochs of data, or seconds of running; what a resumed run did again counts once by
// rounds and epochs. kNotFound where `run` is no run directory; a file that is not there is empty.
Result<RunRecords> read_records(const std::filesystem::path& run, By by);

}  // namespace instep::coord
