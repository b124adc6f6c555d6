#include "coord/coordinator_link.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include <cerrno>
#include <cstdlib>

#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "coord/coordinator.h"

namespace instep::coord {
namespace {

// Without an answer for so long it is killed. It has nothing to do that takes a hundredth of that.
constexpr std::int64_t kDeaf = 5 * kSecond;
constexpr int kSendLimitMilliseconds = 5'000;
constexpr std::uint32_t kMostDeaths = 5;

}  // namespace

Result<CoordinatorLink> CoordinatorLink::start(Plan plan) {
  CoordinatorLink out(std::move(plan));
  INSTEP_RETURN_IF_ERROR(out.begin());
  return out;
}

Status CoordinatorLink::begin() {
  INSTEP_ASSIGN_OR_RETURN(auto ends, fabric::make_control_pair());
  auto link = std::make_unique<fabric::ControlLink>(std::move(ends.first));
  INSTEP_RETURN_IF_ERROR(link->limit_sending(kSendLimitMilliseconds));
  const Fd log(::open(plan_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log.valid()) return os_error("write", plan_.log, errno);
  ProcessPlan process;
  process.program = plan_.program;
  process.arguments = {"coordinator"};  // for who looks at the list of processes
  process.inherited = ends.second.get();
  process.output = process.errors = log.get();
  // A test's failpoints are for the first one, or each that follows would die like it.
  const char* failpoints = first_ ? std::getenv("INSTEP_COORDINATOR_FAILPOINTS") : nullptr;
  process.environment = {{kCoordinatorFd, std::to_string(ends.second.get())},
                         {"INSTEP_FAILPOINTS", failpoints == nullptr ? "" : failpoints}};
  INSTEP_ASSIGN_OR_RETURN(Process started, Process::start(process));
  process_ = std::make_unique<Process>(std::move(started));
  link_ = std::move(link);
  open_ = true;
  said_.reset();
  member::Open open = client_.open(plan_.rules);
  open.journal = plan_.journal.string();
  first_ = false;
  waiting_since_ = monotonic_ns();
  if (!link_->send(wire::Parcel{member::encode(open)}).ok()) open_ = false;
  for (const member::Told& told : client_.untold()) send(told);
  return {};
}

std::uint64_t CoordinatorLink::tell(member::Event event) {
  const member::Told& told = client_.tell(std::move(event));
  send(told);
  return told.number;
}

void CoordinatorLink::ask(member::Event event) {
  if (open_) send(client_.ask(std::move(event)));
}

void CoordinatorLink::send(const member::Told& told) {
  if (!open_) return;
  if (!waiting_since_) waiting_since_ = monotonic_ns();
  // What cannot be sent is told to the next one.
  if (!link_->send(wire::Parcel{member::encode(told)}).ok()) signal(SIGKILL);
}

std::vector<member::Reply> CoordinatorLink::take() {
  std::vector<member::Reply> out;
  if (!process_) return out;
  // Asked first, told last: what it said before it ended is there by now.
  const Process::Ended end = process_->reap();
  read(out);
  if (end.ended) {
    process_.reset();
    ended(end);
  } else if (waiting_since_ && monotonic_ns() - *waiting_since_ >= kDeaf) {
    news_.push_back(cat("the coordinator does not answer and is killed"));
    waiting_since_.reset();
    signal(SIGKILL);
  }
  return out;
}

void CoordinatorLink::read(std::vector<member::Reply>& out) {
  while (open_) {
    auto polled = link_->poll();
    if (!polled.ok() || polled->ended) {
      open_ = false;
      if (!said_) signal(SIGKILL);  // it ends by itself when it has said why
      return;
    }
    if (!polled->message) return;
    wire::Message& message = polled->message->message;
    if (auto* failed = std::get_if<wire::Failed>(&message)) {
      said_ = wire::error_of(std::move(*failed));
      continue;
    }
    const auto* parcel = std::get_if<wire::Parcel>(&message);
    if (parcel == nullptr) continue;
    auto reply = member::decode_reply(parcel->body);
    if (!reply.ok()) {
      said_ = reply.error();
      signal(SIGKILL);
      return;
    }
    heard(reply.take(), out);
  }
}

void CoordinatorLink::heard(member::Reply reply, std::vector<member::Reply>& out) {
  const std::int64_t now = monotonic_ns();
  deaths_ = 0;
  const bool news = client_.hear(reply, now);
  waiting_since_.reset();
  if (!client_.untold().empty()) waiting_since_ = now;
  if (news) out.push_back(std::move(reply));
}

void CoordinatorLink::ended(const Process::Ended& end) {
  open_ = false;
  waiting_since_.reset();
  const std::string how =
      end.signal != 0 ? cat("killed by signal ", end.signal) : cat("exit code ", end.code);
  if (said_) {
    lost_ = *said_;
  } else if (plan_.journal.empty()) {
    lost_ = Error{ErrorKind::kUnavailable, cat("the coordinator died (", how, ")")};
  } else if (++deaths_ > kMostDeaths) {
    lost_ =
        Error{ErrorKind::kUnavailable, cat("the coordinator dies each time that it is started (",
                                           how, "); see ", plan_.log.string())};
  } else if (const Status begun = begin(); !begun.ok()) {
    lost_ = begun.error();
  } else {
    news_.push_back(cat("the coordinator died (", how, ") and is started again"));
  }
}

void CoordinatorLink::collect(std::vector<int>& descriptors) const {
  if (open_) descriptors.push_back(link_->socket());
  if (process_) descriptors.push_back(process_->pidfd());
}

std::optional<std::int64_t> CoordinatorLink::wake_at() const {
  if (!process_ || !waiting_since_) return std::nullopt;
  return *waiting_since_ + kDeaf;
}

bool CoordinatorLink::signal(int signal) {
  if (!process_) return false;
  process_->signal(signal);
  return true;
}

}  // namespace instep::coord
