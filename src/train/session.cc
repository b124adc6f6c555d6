#include "train/session.h"

#include <fcntl.h>
#include <poll.h>
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

#include "base/failpoint.h"
#include "base/text.h"
#include "fabric/wait.h"

namespace instep::train {
namespace {

// After the coordinator's death an agent saves and ends by itself; one that cannot (a loss that
// never returns) is ended, so that nothing outlives its launcher for more than two seconds.
constexpr std::chrono::milliseconds kOrphanGrace{1700};

volatile std::sig_atomic_t signalled = 0;
void on_signal(int /*number*/) { signalled = 1; }

// Of an agent with a launcher: SIGTERM wakes the thread that reads the link.
int term_pipe[2] = {-1, -1};
void on_term(int /*number*/) {
  const char byte = 1;
  if (::write(term_pipe[1], &byte, 1) < 0) std::_Exit(1);
}
void listen_for_term() {
  if (::pipe2(term_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return;
  struct sigaction action {};
  action.sa_handler = on_term;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGTERM, &action, nullptr);
}

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

// A file to be read, mapped when it is first wanted.
Result<std::span<const std::byte>> mapped(fabric::Mapping& map, const Fd& file) {
  if (map.data() == nullptr) {
    INSTEP_ASSIGN_OR_RETURN(map, fabric::Mapping::map(file, false));
  }
  return std::span<const std::byte>(map.data(), map.size());
}

}  // namespace

int exit_code(ErrorKind kind) {
  const bool ours = kind == ErrorKind::kUnavailable || kind == ErrorKind::kInternal ||
                    kind == ErrorKind::kDamaged;
  return ours ? 1 : 2;
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
    INSTEP_RETURN_IF_ERROR(session.map_memory(files.control, std::move(files.arenas)));
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
  failpoint("start.connect");
  INSTEP_RETURN_IF_ERROR(link_->send(hello));
  failpoint("start.hello");
  INSTEP_ASSIGN_OR_RETURN(auto received, link_->receive());
  if (!received) return Error{ErrorKind::kUnavailable, "the coordinator ended before it answered"};
  if (auto* failed = std::get_if<wire::Failed>(&received->message)) {
    return wire::error_of(std::move(*failed));
  }
  auto* welcome = std::get_if<wire::Welcome>(&received->message);
  if (welcome == nullptr) {
    return Error{ErrorKind::kMismatch,
                 "the coordinator did not answer with a welcome; do both sides "
                 "come from the same instep?"};
  }
  failpoint("start.welcome");
  welcome_ = std::move(*welcome);
  slots_ = welcome_.slots;
  std::vector<Fd>& files = received->descriptors;
  const std::size_t world_at = welcome_.has_dataset ? 3 : 2;
  const std::size_t first_arena = world_at + (welcome_.has_world ? 1 : 0);
  if (slots_ > fabric::kMaxSlots || me_ < 0 || static_cast<std::uint32_t>(me_) >= slots_ ||
      files.size() != first_arena + slots_) {
    return Error{ErrorKind::kCorrupt, "the coordinator's welcome does not hold together"};
  }
  state_ = std::move(files[1]);
  if (welcome_.has_dataset) dataset_ = std::move(files[2]);
  if (welcome_.has_world) world_ = std::move(files[world_at]);
  std::vector<Fd> arenas;
  for (std::size_t i = first_arena; i < files.size(); ++i) arenas.push_back(std::move(files[i]));
  INSTEP_RETURN_IF_ERROR(map_memory(files[0], std::move(arenas)));
  failpoint("start.mapped");
  listen_for_term();
  std::thread([this] { listen(); }).detach();
  // From here on the end of the link ends this process in an orderly way; the kernel need not.
  ::prctl(PR_SET_PDEATHSIG, 0);
  return {};
}

Status Session::map_memory(const Fd& control, std::vector<Fd> arenas) {
  INSTEP_ASSIGN_OR_RETURN(control_map_, fabric::Mapping::map(control, true));
  control_ = fabric::control_page(control_map_);
  arena_files_ = std::move(arenas);
  arena_maps_.resize(arena_files_.size());
  const auto mine = static_cast<std::size_t>(me_);
  INSTEP_ASSIGN_OR_RETURN(arena_maps_[mine], fabric::Mapping::map(arena_files_[mine], true));
  arena_ = std::make_unique<fabric::Arena>(
      std::span(arena_maps_[mine].data(), arena_maps_[mine].size()));
  (void)arena_->take(1);  // an offset of 0 means nothing
  words().status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kStarting));
  seat_ = std::make_unique<round::Seat>(words(), me_);
  runner_ = std::make_unique<round::Runner>(words(), *seat_);
  runner_->wait_for_news = [this] { return wait_for_news(); };
  return {};
}

std::string Session::place_of(const std::string& key, const std::string& named) const {
  const auto found = welcome_.files.find(key);
  return found == welcome_.files.end() ? named : found->second;
}

Result<std::span<const std::byte>> Session::arena_of(member::AgentId agent) {
  const auto slot = static_cast<std::size_t>(agent);
  return mapped(arena_maps_.at(slot), arena_files_[slot]);
}

Result<std::span<const std::byte>> Session::world() { return mapped(world_map_, world_); }

void Session::listen() {
  while (true) {
    pollfd polled[2] = {{link_->socket(), POLLIN, 0}, {term_pipe[0], POLLIN, 0}};
    ::poll(polled, 2, -1);
    if (polled[1].revents != 0) take_signal();
    const bool ended = polled[0].revents != 0 && !hear_all();
    {
      const std::lock_guard lock(mutex_);
      ++heard_;
      if (ended) {
        stop_reason_ = "the launcher is gone";
        gone_.store(true);
        stop_asked_.store(true);
        (void)seat_->propose({0, wire::kWithdrawn});  // no view will come that one could wait for
      }
    }
    arrived_.notify_all();
    // Whoever sleeps on a word that will never change has to look for the view that says so.
    if (const auto* word = runner_->asleep_on.load(std::memory_order_seq_cst)) fabric::wake(*word);
    if (ended) {
      std::this_thread::sleep_for(kOrphanGrace);
      end_group();
    }
  }
}

void Session::take_signal() {
  char byte = 0;
  while (::read(term_pipe[0], &byte, 1) > 0) {
  }
  if (!may_leave_.exchange(false)) {  // nothing to hand over, or asked twice
    ::signal(SIGTERM, SIG_DFL);
    ::raise(SIGTERM);
  }
  failpoint("leave.asked");
  (void)link_->send(wire::Leaving{});
}

// All messages that are there; false at the end of the stream.
bool Session::hear_all() {
  while (true) {
    auto polled = link_->poll();
    if (!polled.ok() || polled->ended) return false;
    if (!polled->message) return true;
    hear(*polled->message);
  }
}

void Session::hear(fabric::ControlLink::Received& received) {
  if (auto* view = std::get_if<wire::ViewMessage>(&received.message)) {
    hear(*view, received.descriptors);
  } else if (auto* proposal = std::get_if<wire::Propose>(&received.message)) {
    failpoint("promise.asked");
    if (const auto answer = seat_->propose(*proposal)) (void)link_->send(*answer);
    failpoint("promise.given");
  } else if (auto* stop = std::get_if<wire::StopRequest>(&received.message)) {
    const std::lock_guard lock(mutex_);
    stop_reason_ = stop->reason.empty() ? "asked to stop" : stop->reason;
    stop_asked_.store(true);
    if (stop_reason_.rfind("failed", 0) == 0) may_leave_.store(false);
  } else if (auto* failed = std::get_if<wire::Failed>(&received.message)) {
    const Error error = wire::error_of(std::move(*failed));
    std::fprintf(stderr, "instep: %s\n", error.message.c_str());
    std::_Exit(exit_code(error.kind));
  }
}

void Session::hear(wire::ViewMessage& message, std::vector<Fd>& descriptors) {
  const std::lock_guard lock(mutex_);
  auto view = member::from_message(message);
  Status status = view.ok() ? member::validate(*view, shards_, blocks_) : view.status();
  if (status.ok()) {
    for (const member::AgentId agent : view->members) {
      if (agent >= 0 && static_cast<std::uint32_t>(agent) < slots_) continue;
      status =
          Error{ErrorKind::kCorrupt, cat("the view names agent ", agent, " of ", slots_, " slots")};
    }
  }
  if (!status.ok()) {
    refused_ = status.error().message;
    return;
  }
  if (!descriptors.empty()) {
    book_view_ = view->epoch.number;
    book_ = std::move(descriptors.front());
  }
  failpoint("view.heard");
  seat_->offer(view.take());
  failpoint("view.offered");
}

Status Session::wait_for_news() {
  std::unique_lock lock(mutex_);
  const std::uint64_t before = heard_;
  if (!seat_->news()) {
    arrived_.wait_for(lock, std::chrono::milliseconds(20), [&] { return heard_ != before; });
  }
  if (!refused_.empty()) return Error{ErrorKind::kCorrupt, refused_};
  if (gone_.load() && !seat_->news()) {
    return Error{ErrorKind::kUnavailable, "the coordinator is gone"};
  }
  words().beats.fetch_add(1, std::memory_order_relaxed);
  return {};
}

Result<std::vector<std::byte>> Session::book_of(std::uint32_t view, bool& overtaken) {
  const std::lock_guard lock(mutex_);
  overtaken = book_view_ > view;
  if (book_view_ != view || !book_.valid()) return std::vector<std::byte>();
  INSTEP_ASSIGN_OR_RETURN(const fabric::Mapping map, fabric::Mapping::map(book_, false));
  return std::vector<std::byte>(map.data(), map.data() + map.size());
}

Status Session::ready(const wire::Ready& ready) {
  words().status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kReady));
  const auto owners = ready.owners == "servers" ? member::Owners::kServers : member::Owners::kAll;
  if (alone()) {
    seat_->offer(member::assign({1, 1}, member::gather_op(ready.first_round, 0), {0}, ready.shards,
                                ready.blocks, owners, ready.servers));
    return {};
  }
  {
    const std::lock_guard lock(mutex_);
    shards_ = ready.shards;
    blocks_ = ready.blocks;
  }
  return link_->send(ready);
}

void Session::progress(const std::string& kind, const std::string& fields) {
  // A coordinator that is gone hears nothing, and that is known by other ways.
  if (!alone()) (void)link_->send(wire::Progress{kind, fields});
}

void Session::done(const std::string& report) {
  words().status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kDone));
  if (gone_.load()) end_group();
  may_leave_.store(false);
  failpoint("end.done");
  if (!alone()) (void)link_->send(wire::Done{report});
  failpoint("end.said");
}

void Session::fail(const Error& error) {
  if (alone()) {
    std::fprintf(stderr, "instep: %s\n", error.message.c_str());
  } else {
    std::fprintf(stderr, "instep: agent %d: %s\n", me_, error.message.c_str());
    (void)link_->send(wire::failed_of(error));
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
