#include "train/session.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "base/text.h"

namespace instep::train {
namespace {

// After the coordinator's death an agent saves and ends by itself; one that cannot (a loss that
// never returns) is ended, so that nothing outlives its launcher for more than two seconds.
constexpr std::chrono::milliseconds kOrphanGrace{1700};

volatile std::sig_atomic_t signalled = 0;
void on_signal(int /*number*/) { signalled = 1; }

// With the launcher gone, nobody else ends what this program has started. The launcher gave each
// agent a process group of its own; in another's group there may be anybody.
void end_group() {
  if (::getpgrp() == ::getpid()) ::kill(0, SIGKILL);
  std::_Exit(1);
}

// The number in a variable that the launcher set; -1 if it is none.
int number_in(std::string_view text) {
  int value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Alone, Ctrl-C is the request to stop after the round; the second one ends at once.
void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

int exit_code(ErrorKind kind) {
  return kind == ErrorKind::kUnavailable || kind == ErrorKind::kInternal ? 1 : 2;
}

Result<Session*> Session::start(const std::map<std::string, std::string>& fingerprint) {
  static Session session;
  INSTEP_CHECK(session.control_ == nullptr, "a process has one instep::Run");
  if (const char* socket = std::getenv("INSTEP_CONTROL_FD")) {
    if (Status status = session.connect(number_in(socket), fingerprint); !status.ok()) {
      return status.error();
    }
  } else {
    INSTEP_ASSIGN_OR_RETURN(fabric::HostFiles files, fabric::make_host_files(1));
    session.state_ = std::move(files.state);
    INSTEP_RETURN_IF_ERROR(session.map_memory(files.control, files.arenas));
    stop_on_signals();
  }
  return &session;
}

Status Session::connect(int socket, const std::map<std::string, std::string>& fingerprint) {
  // What this program starts is no agent, and does not keep the run in use when this one has ended.
  for (const char* name : {"INSTEP_CONTROL_FD", "INSTEP_LOCK_FD"}) {
    if (const char* number = std::getenv(name)) ::fcntl(number_in(number), F_SETFD, FD_CLOEXEC);
    ::unsetenv(name);
  }
  if (const char* slot = std::getenv("INSTEP_AGENT")) me_ = number_in(slot);
  link_ = std::make_unique<fabric::ControlLink>(Fd(socket));
  wire::Hello hello;
  hello.agent = me_;
  hello.pid = ::getpid();
  hello.fingerprint = fingerprint;
  INSTEP_RETURN_IF_ERROR(link_->send(hello));
  INSTEP_ASSIGN_OR_RETURN(auto received, link_->receive());
  if (!received) return Error{ErrorKind::kUnavailable, "the coordinator ended before it answered"};
  if (const auto* failed = std::get_if<wire::Failed>(&received->message)) {
    return Error{static_cast<ErrorKind>(failed->kind), failed->message};
  }
  auto* welcome = std::get_if<wire::Welcome>(&received->message);
  if (welcome == nullptr) {
    return Error{ErrorKind::kMismatch,
                 "the coordinator did not answer with a welcome; do both sides "
                 "come from the same instep?"};
  }
  welcome_ = std::move(*welcome);
  slots_ = welcome_.slots;
  std::vector<Fd>& files = received->descriptors;
  const std::size_t first_arena = welcome_.has_dataset ? 3 : 2;
  if (slots_ > fabric::kMaxSlots || me_ < 0 || static_cast<std::uint32_t>(me_) >= slots_ ||
      files.size() != first_arena + slots_) {
    return Error{ErrorKind::kCorrupt, "the coordinator's welcome does not hold together"};
  }
  state_ = std::move(files[1]);
  if (welcome_.has_dataset) dataset_ = std::move(files[2]);
  std::vector<Fd> arenas;
  for (std::size_t i = first_arena; i < files.size(); ++i) arenas.push_back(std::move(files[i]));
  INSTEP_RETURN_IF_ERROR(map_memory(files[0], arenas));
  std::thread([this] { listen(); }).detach();
  // From here on the end of the link ends this process in an orderly way; the kernel need not.
  ::prctl(PR_SET_PDEATHSIG, 0);
  return {};
}

Status Session::map_memory(const Fd& control, const std::vector<Fd>& arenas) {
  INSTEP_ASSIGN_OR_RETURN(control_map_, fabric::Mapping::map(control, true));
  control_ = fabric::control_page(control_map_);
  for (std::size_t slot = 0; slot < arenas.size(); ++slot) {
    const bool mine = slot == static_cast<std::size_t>(me_);
    INSTEP_ASSIGN_OR_RETURN(fabric::Mapping map, fabric::Mapping::map(arenas[slot], mine));
    arena_spans_.emplace_back(map.data(), map.size());
    if (mine) arena_ = std::make_unique<fabric::Arena>(std::span(map.data(), map.size()));
    arena_maps_.push_back(std::move(map));
  }
  words().status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kStarting));
  return {};
}

void Session::listen() {
  while (true) {
    auto received = link_->receive();
    const bool ended = !received.ok() || !received->has_value();
    {
      const std::lock_guard lock(mutex_);
      if (ended) {
        stop_reason_ = "the launcher is gone";
        gone_.store(true);
        stop_asked_.store(true);
      } else if (auto* view = std::get_if<wire::ViewMessage>(&(*received)->message)) {
        view_ = std::move(*view);
      } else if (auto* stop = std::get_if<wire::StopRequest>(&(*received)->message)) {
        stop_reason_ = stop->reason.empty() ? "asked to stop" : stop->reason;
        stop_asked_.store(true);
      } else if (auto* failed = std::get_if<wire::Failed>(&(*received)->message)) {
        std::fprintf(stderr, "instep: %s\n", failed->message.c_str());
        std::_Exit(exit_code(static_cast<ErrorKind>(failed->kind)));
      }
    }
    arrived_.notify_all();
    if (ended) {
      std::this_thread::sleep_for(kOrphanGrace);
      end_group();
    }
  }
}

Result<member::View> Session::ready(const wire::Ready& ready) {
  words().status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kReady));
  const auto owners = ready.owners == "servers" ? member::Owners::kServers : member::Owners::kAll;
  if (alone()) {
    return member::assign({1, 0}, ready.first_round, {0}, ready.shards, ready.blocks, owners,
                          ready.servers);
  }
  INSTEP_RETURN_IF_ERROR(link_->send(ready));
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return view_.has_value() || gone_.load(); });
  if (!view_) return Error{ErrorKind::kUnavailable, "the coordinator is gone"};
  INSTEP_ASSIGN_OR_RETURN(member::View view, member::from_message(*view_));
  INSTEP_RETURN_IF_ERROR(member::validate(view, ready.shards, ready.blocks));
  for (const member::AgentId agent : view.members) {
    if (agent < 0 || static_cast<std::uint32_t>(agent) >= slots_) {
      return Error{ErrorKind::kCorrupt, cat("the view names agent ", agent, " of ", slots_)};
    }
  }
  return view;
}

void Session::progress(const std::string& kind, const std::string& fields) {
  // A coordinator that is gone hears nothing, and that is known by other ways.
  if (!alone()) (void)link_->send(wire::Progress{kind, fields});
}

void Session::done(const std::string& report) {
  words().status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kDone));
  if (gone_.load()) end_group();
  if (!alone()) (void)link_->send(wire::Done{report});
}

void Session::fail(const Error& error) {
  if (alone()) {
    std::fprintf(stderr, "instep: %s\n", error.message.c_str());
  } else {
    std::fprintf(stderr, "instep: agent %d: %s\n", me_, error.message.c_str());
    (void)link_->send(wire::Failed{static_cast<std::int32_t>(error.kind), error.message});
  }
  std::fflush(nullptr);
  std::_Exit(exit_code(error.kind));
}

std::string Session::stop_reason() const {
  if (alone()) return signalled != 0 ? "interrupt" : "";
  if (!stop_asked_.load(std::memory_order_relaxed)) return "";
  const std::lock_guard lock(mutex_);
  return stop_reason_;
}

}  // namespace instep::train
