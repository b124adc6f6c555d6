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
  const Fd* dataset() const { return dataset_.valid() ? &dataset_ : nullptr; }

  fabric::ControlPage* control() const { return control_; }
  const Fd& state_file() const { return state_; }
  fabric::Arena& arena() { return *arena_; }
  // [slot] every agent's arena, mine writable, the others' not.
  const std::vector<std::span<const std::byte>>& arenas() const { return arena_spans_; }
  fabric::AgentWords& words() const { return control_->agents[me_]; }

  // Says what this agent is to train and waits for the view. Alone, the view is made here.
  Result<member::View> ready(const wire::Ready& ready);

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
  Status map_memory(const Fd& control, const std::vector<Fd>& arenas);
  void listen();

  member::AgentId me_ = 0;
  std::uint32_t slots_ = 1;
  std::unique_ptr<fabric::ControlLink> link_;
  wire::Welcome welcome_;
  Fd state_, dataset_;
  fabric::Mapping control_map_;
  std::vector<fabric::Mapping> arena_maps_;
  std::vector<std::span<const std::byte>> arena_spans_;
  fabric::ControlPage* control_ = nullptr;
  std::unique_ptr<fabric::Arena> arena_;

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::optional<wire::ViewMessage> view_;  // guarded by mutex_
  std::string stop_reason_;                // guarded by mutex_
  std::atomic<bool> stop_asked_ = false, gone_ = false;
};

int exit_code(ErrorKind kind);

}  // namespace instep::train
