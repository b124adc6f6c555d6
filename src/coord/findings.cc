#include "coord/findings.h"

#include <utility>
#include <variant>

#include "base/machine.h"
#include "base/text.h"
#include "coord/report.h"

namespace instep::coord {

using Json = nlohmann::json;
using member::Reason;

void Findings::keep(wire::Message& message) {
  if (const auto* hello = std::get_if<wire::Hello>(&message)) {
    if (fingerprint_.empty()) fingerprint_ = hello->fingerprint;
  } else if (const auto* ready = std::get_if<wire::Ready>(&message)) {
    if (!ready_) ready_ = *ready;
  } else if (auto* done = std::get_if<wire::Done>(&message)) {
    reports_.push_back(std::exchange(done->report, std::to_string(reports_.size())));
  }
}

LaunchResult Findings::result(const LaunchPlan& plan, const End& end) const {
  LaunchResult out;
  out.outcome = end.outcome;
  out.exit_code = member::exit_code(end.outcome);
  out.message = member::describe(end.outcome);
  out.job_json = end.job_json;
  const Reason reason = end.outcome.reason;
  const bool mute = reason == Reason::kExited || reason == Reason::kKilled ||
                    reason == Reason::kLinkEnded || reason == Reason::kProtocol ||
                    reason == Reason::kCrashLoop ||
                    (reason == Reason::kAgentFailed && out.exit_code == 1);
  if (reason == Reason::kExited && !end.outcome.joined && plan.own_program) {
    out.message += " (does the program construct instep::Run?)";
  }
  if (mute && end.outcome.agent >= 0) out.message += cat("; ", end.log_end);
  if (reason != Reason::kFinished && reason != Reason::kStopped) return out;
  ReportParts parts;
  parts.job_json = end.job_json;
  parts.trained_by = end.trained_by;
  for (const std::string& place : end.reports) {
    parts.agent_reports.push_back(reports_.at(std::stoul(place)));
  }
  parts.fingerprint = fingerprint_;
  if (ready_) {
    parts.job_hash = ready_->job_hash;
    parts.shards = ready_->shards;
  }
  parts.events = end.events;
  parts.start_ns = plan.start_ns;
  parts.end_ns = monotonic_ns();
  if (plan.records) parts.run_dir = plan.run_dir.string();
  parts.checkpoint = end.checkpoint;
  parts.stopped = end.outcome.stop_reason;
  out.report = merge_report(parts).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return out;
}

}  // namespace instep::coord
