// Tells a person and the run's files what happens: lines and the live block, metrics.jsonl,
// events.jsonl and the log.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "coord/bridge.h"
#include "coord/display.h"
#include "coord/launcher.h"
#include "coord/output.h"
#include "coord/pace.h"
#include "member/events.h"
#include "member/view.h"
#include "wire/message.h"

namespace instep::coord {

class Narrator {
 public:
  explicit Narrator(const LaunchPlan& plan);
  // Opens the files of records.
  Status begin();

  void job_is_known(const job::Job& job);
  void view_is_out(const member::View& view, std::uint32_t shards);
  void progress(member::AgentId agent, const wire::Progress& progress);
  void stopping(const std::string& reason);
  void tell(const member::Tell& news);
  // The run stands still until go_on(). `advice` is shown, and kept nowhere.
  void wait(const member::Tell& news, const std::string& advice);
  bool go_on();  // false: it did not stand still
  // What the host has measured of its links to others.
  void lines(const LinesSeen& seen);
  // A line of an own program's output.
  void output(std::uint32_t agent, std::string_view line);

  // When look() is due next.
  std::int64_t next_look() const;
  // Draws the block or says a line about `agents`, if it is time.
  template <class Snapshots>
  void look(std::int64_t now, const Snapshots& snapshots) {
    if (now >= next_look()) draw(now, snapshots());
  }
  // What was recorded goes to its files.
  void flush();
  // Takes the live block away.
  void end() { display_.clear(); }

  const nlohmann::json& events() const { return events_; }

 private:
  void note(LogLevel level, const std::string& text);
  void record(Records& records, nlohmann::json fields, const char* kind);
  void draw(std::int64_t now, std::vector<AgentSnapshot> agents);
  // The time left in words; empty while it is not known.
  std::string time_left(std::int64_t now) const;

  const LaunchPlan& plan_;
  Display display_;
  Records metrics_, events_file_;
  nlohmann::json events_ = nlohmann::json::array();
  std::int64_t epochs_ = 0;
  Picture picture_;
  Pace pace_;
  std::vector<Share> shares_;  // by slot
  // By slot, what was counted last, and what agents had counted whose slots others took.
  std::vector<std::uint64_t> samples_;
  std::uint64_t past_samples_ = 0;
  std::int64_t wall_at_ = 0;  // when the job's time is over; 0: it has all the time
  bool running_ = false;      // there was a view
  std::string waits_;         // for what, while the run stands still
  std::int64_t looked_at_ = 0;
  bool records_failed_ = false;
};

}  // namespace instep::coord
