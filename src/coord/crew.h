// The agents of a launcher: processes, links, output, and the memory that they share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "coord/claims.h"
#include "coord/display.h"
#include "coord/launcher.h"
#include "coord/output.h"
#include "coord/process.h"
#include "fabric/control_link.h"
#include "fabric/host_memory.h"
#include "member/decide.h"

namespace instep::coord {

class Crew {
 public:
  // Starts all agents and makes the host's memory; on a failure none is left. An object that goes
  // takes its processes with it.
  static Result<Crew> start(const LaunchPlan& plan);

  std::uint32_t size() const { return static_cast<std::uint32_t>(members_.size()); }

  // Descriptors to wait for: links, processes, output.
  void collect(std::vector<int>& descriptors) const;
  // Everything that has come in since: an agent's messages before the news of its end. Output lines
  // go to `line`.
  using LineSink = std::function<void(std::uint32_t agent, std::string_view line)>;
  std::vector<member::Event> drain(const LineSink& line);

  // `dataset` may be invalid: there is none.
  Status welcome(std::uint32_t agent, wire::Welcome message, const Fd& dataset);
  Status send(std::uint32_t agent, const wire::Message& message);
  void signal(std::uint32_t agent, int signal);

  std::vector<AgentSnapshot> snapshots() const;
  // How an agent's log ends, and where it is.
  std::string log_end(std::uint32_t agent) const;

 private:
  struct Member {
    std::unique_ptr<fabric::ControlLink> link;
    bool link_open = true;
    std::optional<Process> process;
    bool gone = false;
    Fd output;  // of an own program, or of one that predicts
    LineCutter cutter;
    std::filesystem::path log;
    std::uint64_t log_from = 0;
  };
  Crew() = default;
  Status add(const LaunchPlan& plan, std::uint32_t agent);
  void drain_link(member::AgentId agent, Member& member, std::vector<member::Event>& out);
  void drain_output(std::uint32_t agent, Member& member, const LineSink& line);

  CpuClaims claims_;
  fabric::HostFiles files_;
  fabric::Mapping control_;
  std::vector<Member> members_;
};

}  // namespace instep::coord
