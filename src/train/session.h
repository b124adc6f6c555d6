// An agent's connection to its run: the coordinator's link, the host's shared memory, and the
// requests that arrive while training. A program that nobody launched gets a session of its own,
// with one agent.
//
// One thread trains and calls everything here; a thread of the session's own reads the link.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "fabric/arena.h"
#include "fabric/control_link.h"
#include "fabric/host_memory.h"
#include "member/view.h"
#include "round/runner.h"
#include "round/seat.h"
#include "wire/message.h"

namespace instep::train {

class Session {
 public:
  // Connects if the environment says so (INSTEP_CONTROL_FD), else stands alone. The process has one
  // session, which lives until it exits. `fingerprint`: see wire::Hello.
  static Result<Session*> start(const std::map<std::string, std::string>& fingerprint);

  bool alone() const { return link_ == nullptr; }
  member::AgentId me() const { return me_; }
  std::uint32_t slots() const { return slots_; }
  const wire::Welcome& welcome() const { return welcome_; }
  bool has_world() const { return welcome_.has_world; }
  // Where a file that the job names, under this key, lies on this host.
  std::string place_of(const std::string& key, const std::string& named) const;
  const Fd* dataset() const { return dataset_.valid() ? &dataset_ : nullptr; }

  fabric::ControlPage* control() const { return control_; }
  const Fd& state_file() const { return state_; }
  fabric::Arena& arena() { return *arena_; }
  // Another agent's arena, to be read. Mapped when it is first wanted.
  Result<std::span<const std::byte>> arena_of(member::AgentId agent);
  // The bridge's, of one of several hosts.
  Result<std::span<const std::byte>> world();
  fabric::AgentWords& words() const { return control_->agents[me_]; }
  fabric::AgentWords& words_of(member::AgentId agent) const { return control_->agents[agent]; }

  round::Seat& seat() { return *seat_; }
  round::Runner& runner() { return *runner_; }
  // Says what this agent is to train. Alone, the view is made here.
  Status ready(const wire::Ready& ready);
  // Whether the run has begun without this agent, which waits for a view that it is in.
  bool joining() const { return welcome_.joining; }
  // Waits until there is news for the seat, or for a while; an Error when there will be none.
  Status wait_for_news();
  // The book that came with the view of this number; empty if there is none. `overtaken`: because
  // a later view has brought another one since.
  Result<std::vector<std::byte>> book_of(std::uint32_t view, bool& overtaken);
  // From here on SIGTERM asks to leave the run, or not any more.
  void may_leave(bool may) { may_leave_.store(may); }

  void progress(const std::string& kind, const std::string& fields);
  void done(const std::string& report);
  // Tells the coordinator (alone: stderr) and ends the process with the exit code of the error's
  // kind.
  [[noreturn]] void fail(const Error& error);

  // Why the run is to end after a round, or "": a request, or the coordinator is gone.
  std::string stop_reason() const;
  bool coordinator_gone() const { return gone_.load(); }

 private:
  Session() = default;
  Status connect(int socket, const std::map<std::string, std::string>& fingerprint);
  Status map_memory(const Fd& control, std::vector<Fd> arenas);
  void listen();
  bool hear_all();
  void hear(fabric::ControlLink::Received& received);
  void hear(wire::ViewMessage& message, std::vector<Fd>& descriptors);
  void take_signal();

  member::AgentId me_ = 0;
  std::uint32_t slots_ = 1;
  std::unique_ptr<fabric::ControlLink> link_;
  wire::Welcome welcome_;
  Fd state_, dataset_, world_;
  fabric::Mapping control_map_;
  std::vector<Fd> arena_files_;
  std::vector<fabric::Mapping> arena_maps_;  // [slot], empty until wanted
  fabric::Mapping world_map_;                // the same
  fabric::ControlPage* control_ = nullptr;
  std::unique_ptr<fabric::Arena> arena_;

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::string stop_reason_;      // guarded by mutex_
  std::uint64_t heard_ = 0;      // guarded by mutex_: messages so far
  std::string refused_;          // guarded by mutex_: why a view cannot be followed
  std::uint32_t book_view_ = 0;  // guarded by mutex_
  Fd book_;                      // guarded by mutex_
  std::uint32_t shards_ = 0;     // guarded by mutex_: of the Ready
  std::uint64_t blocks_ = 0;     // guarded by mutex_
  std::atomic<bool> stop_asked_ = false, gone_ = false, may_leave_ = false;
  std::unique_ptr<round::Seat> seat_;
  std::unique_ptr<round::Runner> runner_;
};

int exit_code(ErrorKind kind);

}  // namespace instep::train
