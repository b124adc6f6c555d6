// The launcher's end of the coordinator: starts its process, tells it what happens, takes its
// replies, and starts it again when it dies. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "coord/process.h"
#include "fabric/control_link.h"
#include "member/client.h"

namespace instep::coord {

class CoordinatorLink {
 public:
  struct Plan {
    std::filesystem::path program;  // calls coordinate_if_asked()
    std::filesystem::path journal;  // empty: none
    std::filesystem::path log;      // of its output
    member::Rules rules;
  };
  static Result<CoordinatorLink> start(Plan plan);

  // Tells the event for certain; returns its number.
  std::uint64_t tell(member::Event event);
  // Tells what may be lost, since the next one of its kind says it better.
  void ask(member::Event event);
  // New replies, in order; whatever has arrived. Starts the process again where that is due.
  std::vector<member::Reply> take();
  // Descriptors to wait for, and the time at which to call take() even so.
  void collect(std::vector<int>& descriptors) const;
  std::optional<std::int64_t> wake_at() const;

  // Numbers, standing, and when to ask (CLOCK_MONOTONIC).
  const member::Client& state() const { return client_; }

  // Why it cannot be had any more.
  const std::optional<Error>& lost() const { return lost_; }
  // What happened to it since the last call, for a person.
  std::vector<std::string> news() { return std::exchange(news_, {}); }
  bool signal(int signal);

 private:
  explicit CoordinatorLink(Plan plan) : plan_(std::move(plan)) {}
  Status begin();
  void send(const member::Told& told);
  void read(std::vector<member::Reply>& out);
  void heard(member::Reply reply, std::vector<member::Reply>& out);
  void ended(const Process::Ended& end);

  Plan plan_;
  std::unique_ptr<fabric::ControlLink> link_;
  std::unique_ptr<Process> process_;
  bool open_ = false;  // the link
  member::Client client_;
  std::optional<std::int64_t> waiting_since_;  // for a reply
  bool first_ = true;                          // none was started yet
  std::uint32_t deaths_ = 0;                   // in a row, without a reply between them
  std::optional<Error> lost_, said_;
  std::vector<std::string> news_;
};

}  // namespace instep::coord
