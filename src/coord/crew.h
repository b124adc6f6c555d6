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
  // Starts the first agents and makes the host's memory; on a failure none is left. An object that
  // goes takes its processes with it. The plan must stay.
  static Result<Crew> start(const LaunchPlan& plan, std::uint32_t slots);

  // Of slots; one may be empty.
  std::uint32_t size() const { return static_cast<std::uint32_t>(members_.size()); }
  // A new agent in an empty slot, whose words begin at zero. `beside`: others train meanwhile, and
  // it takes only what processor time they leave, if it can come back from that by itself.
  Status start_agent(std::uint32_t agent, bool beside);

  // Descriptors to wait for: links, processes, output.
  void collect(std::vector<int>& descriptors) const;
  // Everything that has come in since: an agent's messages before the news of its end, and with
  // that what it left half done is undone. Output lines go to `line`.
  using LineSink = std::function<void(std::uint32_t agent, std::string_view line)>;
  std::vector<member::Event> drain(const LineSink& line);

  // `dataset` may be invalid: there is none.
  Status welcome(std::uint32_t agent, wire::Welcome message, const Fd& dataset);
  // `beside`: a descriptor that goes along.
  Status send(std::uint32_t agent, const wire::Message& message, const Fd* beside = nullptr);
  // False if there is no such process.
  bool signal(std::uint32_t agent, int signal);
  bool lives(std::uint32_t agent) const { return agent < size() && !members_[agent].gone; }
  bool any() const;
  // Ends all links: agents take that as the end of their launcher.
  void hang_up();

  // Where all agents stand, in their own words.
  std::vector<member::Words> observe() const;
  // Rounds that the newest agent has finished.
  std::uint64_t newest_round() const;
  // Keeps the newest book among those of slots without a process and the one kept before, and says
  // of how many rounds it is; nothing: there is none.
  Result<std::optional<std::uint64_t>> take_book();
  const Fd& book() const { return book_; }
  // One that comes from another host, of a round.
  Status keep_book(std::span<const std::byte> bytes, std::uint64_t round);
  // No book of before now is of use.
  void forget_books();
  // What the agents share, for a bridge.
  const fabric::HostFiles& files() const { return files_; }
  fabric::ControlPage* page() const { return fabric::control_page(control_); }
  // Flips the bit of the shared state that `seed` chooses among what is in use.
  Status flip_bit(std::uint64_t seed);

  std::vector<AgentSnapshot> snapshots() const;
  // How an agent's log ends, and where it is.
  std::string log_end(std::uint32_t agent) const;

 private:
  struct Member {
    std::unique_ptr<fabric::ControlLink> link;
    bool link_open = false;
    std::unique_ptr<Process> process;
    bool gone = true;        // no process, or its end is told
    std::uint32_t seat = 0;  // among the processors
    Fd output;               // of an own program, or of one that predicts
    LineCutter cutter;
    std::filesystem::path log;
    std::uint64_t log_from = 0;
    std::int64_t idle_until = 0;  // a start that takes longer goes on like any process; 0: it does
  };
  explicit Crew(const LaunchPlan& plan) : plan_(&plan) {}
  Status add(std::uint32_t agent, bool idle);
  std::uint32_t free_seat() const;
  member::Words words(std::uint32_t agent) const;
  Status undo(std::uint32_t agent);
  Status map_state();
  void drain_link(member::AgentId agent, Member& member, std::vector<member::Event>& out);
  void drain_output(std::uint32_t agent, Member& member, const LineSink& line);

  const LaunchPlan* plan_;
  CpuClaims claims_;
  fabric::HostFiles files_;
  fabric::Mapping control_, state_;
  Fd book_;
  std::uint64_t book_round_ = 0;
  mutable std::uint64_t newest_round_ = 0;
  std::vector<Member> members_;
};

}  // namespace instep::coord
