// The launcher's insides, for its own sources: launcher.cc is a run of one host, launcher_hosts.cc
// what is added where hosts train together.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coord/bridge.h"
#include "coord/coordinator_link.h"
#include "coord/crew.h"
#include "coord/findings.h"
#include "coord/launcher.h"
#include "coord/narrator.h"
#include "coord/scale.h"
#include "coord/sources.h"

namespace instep::coord {

class Launcher : private Steering {
 public:
  explicit Launcher(const LaunchPlan& plan)
      : plan_(plan), narrator_(plan), trained_by_{1, plan.agents}, checkpoint_(plan.checkpoint) {}
  LaunchResult run();

 private:
  // Steering, for the plan's drill.
  std::uint64_t round() const override;
  std::vector<member::AgentId> agents() const override;
  std::uint32_t wanted() const override {
    return scaled_ > desk_->state().known() ? wanted_ : desk_->state().standing().wanted;
  }
  bool signal(member::AgentId agent, int signal) override;
  Status scale(std::uint32_t agents) override;
  Status join() override { return scale(wanted() + 1); }
  Status leave(member::AgentId agent) override;
  Status flip_bit(std::uint64_t seed) override { return crew_->flip_bit(seed); }

  Status begin();
  void loop();
  void wait(std::int64_t until);
  std::int64_t next_wakeup() const;
  void tell(member::Event event);
  void hear(member::Heard heard);
  void take_replies();
  void give_up();
  void act(const member::Action& action);
  void welcome(member::AgentId agent, bool joining);
  void publish(const member::Publish& action);
  void start(const member::Start& action);
  void take_book(bool checkpoint);
  void take_events();
  void take_dataset();
  void take_bridge();
  void hosts_are_missing(const HostsAreMissing& news);
  void go_on();
  void wait_for_others();
  bool leave_host();
  void end_on_this_host(LaunchResult& out) const;
  bool first_host() const { return plan_.bridge == nullptr || plan_.bridge->host() == 0; }
  void drill();
  void take_signals();
  void judge_time();
  void stop(const std::string& reason, bool by_signal, bool interrupted);
  void job_is_known(const job::Job& job);
  // An agent that cannot be told is gone, or as good as gone.
  void told(member::AgentId agent, const Status& status) {
    if (!status.ok()) tell(member::LinkEnded{agent, ""});
  }
  LaunchResult result();
  const member::Standing& standing() const { return desk_->state().standing(); }

  const LaunchPlan& plan_;
  Narrator narrator_;
  StopSignals signals_;
  std::optional<CoordinatorLink> desk_;
  std::optional<Crew> crew_;
  std::shared_ptr<Loading> loading_;
  Fd dataset_;
  Findings findings_;
  std::uint64_t scaled_ = 0;                // number of the newest ScaleAsked
  std::uint32_t wanted_ = 0;                // by it
  std::optional<member::Outcome> outcome_;  // when all is over
  std::vector<std::string> report_places_;  // in findings_
  bool stopping_ = false;                   // somebody was told so
  TrainedBy trained_by_;                    // the newest rounds
  std::string job_json_, checkpoint_;
  std::optional<std::int64_t> wall_at_, drill_at_;
  std::optional<ScaleServer> scale_server_;
  bool drilled_out_ = false;  // the drill wants no more turns
  bool left_ = false;         // the run goes on on other hosts
  bool all_done_ = false;     // on all hosts
  std::string orphaned_;      // why this host finished by itself
  std::string gave_up_;       // why all hosts stop
};

}  // namespace instep::coord
