// Launchers on other machines, each started by a command of its own that runs words elsewhere as
// ssh does: COMMAND HOST -- WORDS. What it prints goes to RUN/logs/host-NAME.log. The launchers
// join the run by the line that they read from their standard input, where no list of processes
// shows its token. A host that is lost is started again (comeback.h). On the launcher's thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "coord/comeback.h"
#include "coord/process.h"

namespace instep::coord {

class Remote {
 public:
  struct Host {
    std::string name;   // as the command understands it
    std::string alias;  // what the host calls itself when it joins
    std::string words;  // for a shell there
  };
  struct Plan {
    std::vector<std::string> command;  // a program and its first arguments
    std::vector<Host> hosts;
    std::string line;            // to join by
    std::filesystem::path logs;  // a folder
    bool again = true;           // who is lost is started again
  };
  static Result<Remote> start(Plan plan);

  // Descriptors that are readable when there is something to look at, and when there is although
  // none is.
  void collect(std::vector<int>& descriptors) const;
  std::optional<std::int64_t> due() const;
  // A host that calls itself so is in, as this one of the run's hosts.
  void joined(const std::string& alias, std::uint32_t host);
  // The run goes on without it.
  void lost(std::uint32_t host);

  struct News {
    std::optional<Error> failure;  // why the run cannot begin: a command ended before its host came
    std::vector<std::string> notes;
  };
  // How the command ends of a host that is in is of no concern, unless the host is lost.
  News look();
  // When the run is over: waits for those that had joined to end too, until a limit; ends the rest.
  void finish(std::int64_t limit_ms);

 private:
  struct Launched {
    Host host;
    std::filesystem::path log;
    Comeback comeback;
    bool was_in = false;                   // by this command or one before it
    std::optional<std::int64_t> again_at;  // when it is started again
    // Of the newest command.
    std::optional<Process> process;   // while it lives
    std::string end;                  // how it has ended
    std::string advice;               // and what may be done about it
    std::uint64_t log_from = 0;       // where its words begin
    std::optional<std::uint32_t> in;  // what it has joined as
    bool lost = false;
    bool judged = false;  // its end is dealt with
  };
  explicit Remote(Plan plan) : plan_(std::move(plan)) {}
  Status launch(Launched& it) const;
  void look(Launched& it, News& news) const;
  void start_again(Launched& it, News& news) const;
  void tell_wait(News& news) const;
  Error failure(const Launched& it, bool can_be_mended) const;

  Plan plan_;
  std::filesystem::path program_;
  std::vector<Launched> launched_;
  std::optional<std::int64_t> wait_told_at_;  // when it is said who has not come yet
};

}  // namespace instep::coord
