// An agent's process as a state machine around the production Seat, Turn, Exchange, BookWriter and
// UndoSlot: what train::Engine, Loop, Session and round::Runner are in the real program. Every step
// is one bounded piece; between any two it may be stopped or killed.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradients.h"
#include "host.h"
#include "round/book.h"
#include "round/seat.h"
#include "round/turn.h"
#include "round/undo.h"
#include "update.h"

namespace instep::sim {

// What a process does next: a step after a while, or nothing until there is news or a wake-up.
struct Nap {
  Nanoseconds time = 0;
  const void* word = nullptr;  // on which it sleeps, at most so long
  bool news = false;           // it sleeps until it hears something, at most so long
};

class Process final : private round::Turn::Agent {
 public:
  Process(Host& host, AgentId me, double slowness);
  ~Process() override;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  Nap step();
  // The thread that listens to the link.
  void hear(const wire::Message& message);
  // Its SIGTERM: false if that ends it.
  bool terminate();

  enum class Stage {
    kStart,
    kAwaitWelcome,
    kShare,
    kAwaitView,
    kEnter,
    kAwaitBook,
    kNext,
    kTurn,
    kReport,
    kDone
  };
  Stage stage() const { return stage_; }
  bool torn() const { return update_ && update_->torn(); }
  bool in_rounds() const { return may_leave_; }
  bool done() const { return stage_ == Stage::kDone; }
  const round::Turn& turn() const { return turn_; }
  const round::Seat& seat() const { return *seat_; }
  std::uint64_t round() const { return round_; }
  // The word on which its thread says that it sleeps, for the listening thread.
  const void* asleep_on() const { return asleep_on_; }

  // How the next updates are torn; see TornUpdate.
  std::function<std::uint64_t(std::uint64_t)> tear;
  // Whether the step that comes ends a sleep that nobody ended.
  bool timed_out = false;

 private:
  static constexpr Nanoseconds kSlice = 20 * kMillisecond;  // the longest sleep
  enum class Op { kFill, kRound, kTally, kMeasure, kFinish };

  // Of a turn: process_turn.cc.
  Result<std::vector<std::uint32_t>> take_up(bool in_round) override;
  void begin_round() override;
  void will_compute(const std::vector<std::uint32_t>& shards) override { (void)shards; }
  Status compute(std::uint32_t shard) override;
  const std::vector<std::uint32_t>& shards() const override { return my_shards_; }
  std::optional<round::Posted> open_round(fabric::Ticket ticket, bool first) override;
  round::Posted post_round(fabric::Ticket ticket, bool first) override;
  round::Judging judging() override;
  round::Update* update() override;
  Result<round::Posted> post_gather(fabric::Ticket ticket, bool first) override;
  round::Exchange& exchange() override { return *exchange_; }

  // process_enter.cc
  Nap share();
  Nap await_view();
  Nap enter();
  Nap await_book();
  Nap take_book(const std::vector<std::byte>& bytes);

  Nap run(Nanoseconds time);
  Nap next();
  Nap begin(Op op);
  Nap turn_step();
  Nap wait_step();
  Nap woken();
  Nap after(round::Turn::Step step);
  Nap done_round();
  Nap fail(const Error& error);
  void check_state(std::uint64_t round, bool enters = false) const;
  void fill();
  std::vector<std::byte> gathered() const;
  void make_exchange(std::vector<reduce::Range> units);
  std::uint64_t post(const round::Part& part, bool first);
  bool lead() const;
  fabric::AgentWords& words() const { return host_.memory.words(me_); }
  void busy(fabric::Busy what);
  void beat() { words().beats.fetch_add(1, std::memory_order_relaxed); }

  Host& host_;
  const Job& job_;
  const AgentId me_;
  const double slowness_;
  Stage stage_ = Stage::kStart;
  bool welcomed_ = false, joining_ = false, stop_asked_ = false, may_leave_ = false;

  fabric::Arena arena_;
  std::unique_ptr<round::Seat> seat_;
  round::Turn turn_;
  std::unique_ptr<round::BookWriter> book_;
  std::unique_ptr<round::UndoSlot> undo_;
  std::unique_ptr<Gradients> gradients_;
  std::unique_ptr<round::Exchange> exchange_;
  std::unique_ptr<TornUpdate> update_;
  round::Setup setup_;
  std::vector<std::uint32_t> my_shards_;
  std::vector<reduce::Range> my_ranges_, my_units_;
  std::vector<round::ShardRow> rows_;
  bool member_ = false, partial_ = false, stopped_ = false;
  std::vector<std::byte*> mails_[2];
  int slot_ = 0;
  std::uint64_t round_ = 0;
  Notes notes_;

  Op op_ = Op::kFill;
  std::uint64_t due_gathers_ = 0;  // after an epoch
  bool tallied_ = true;
  std::vector<std::byte> mine_;
  std::optional<member::View> entrance_;

  enum class Wait { kNone, kLook, kRaise, kAgain, kAsleep, kNews, kHeard };
  Wait wait_ = Wait::kNone;
  std::uint32_t was_busy_ = 0, spins_ = 0;
  const void* asleep_on_ = nullptr;
};

}  // namespace instep::sim
