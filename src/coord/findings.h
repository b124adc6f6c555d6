// What a run has come to: keeps what agents say that the coordinator need not know whole, and puts
// the result together.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "coord/launcher.h"
#include "coord/report.h"
#include "member/decide.h"
#include "wire/message.h"

namespace instep::coord {

class Findings {
 public:
  // An agent's message on its way to the coordinator, which gets a report's place here for the
  // report.
  void keep(wire::Message& message);
  // The first, which all others agree with; null before.
  const wire::Ready* ready() const { return ready_ ? &*ready_ : nullptr; }
  const std::map<std::string, std::string>& fingerprint() const { return fingerprint_; }

  // How the run ended, as the launcher knows it.
  struct End {
    member::Outcome outcome;
    std::vector<std::string> reports;  // their places
    std::string job_json, checkpoint;
    std::string log_end;    // of the agent that the outcome names
    nlohmann::json events;  // an array
    TrainedBy trained_by;
  };
  LaunchResult result(const LaunchPlan& plan, const End& end) const;

 private:
  std::vector<std::string> reports_;
  std::map<std::string, std::string> fingerprint_;  // of the first agent that said hello
  std::optional<wire::Ready> ready_;
};

}  // namespace instep::coord
