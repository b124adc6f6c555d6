// Launchers on other machines, each started by a command of its own that runs words elsewhere as
// ssh does: COMMAND HOST -- WORDS. What it prints goes to RUN/logs/host-NAME.log. The launchers
// join the run by the line that they read from their standard input, where no list of processes
// shows its token. On the launcher's thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
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
  };
  static Result<Remote> start(const Plan& plan);

  // Descriptors that are readable when there is something to look at.
  void collect(std::vector<int>& descriptors) const;
  void joined(const std::string& alias);
  // Why the run cannot begin: a command has ended and its host had not joined. Once a host; how the
  // command of one that had joined ends is of no concern.
  std::optional<Error> failure();
  // When the run is over: waits for those that had joined to end too, until a limit; ends the rest.
  void finish(std::int64_t limit_ms);

 private:
  struct Launched {
    std::string name, alias;
    std::filesystem::path log;
    Process process;
    bool joined = false, ended = false;
  };
  Remote() = default;

  std::string program_;  // for people
  std::vector<Launched> launched_;
};

}  // namespace instep::coord
