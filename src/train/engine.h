// Trains a bound module round by round through the exchange: computes this agent's shards,
// publishes, runs the machine, moves on to the other parameter buffer. Knows nothing of data,
// epochs or metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "job/job.h"
#include "model/binding.h"
#include "model/gradients.h"
#include "round/book.h"
#include "round/exchange.h"
#include "store/checkpoint.h"
#include "store/digest.h"
#include "store/safetensors.h"
#include "sync/owner_update.h"
#include "train/session.h"

namespace instep::train {

// What a shard's computation is given, and asked for.
struct ShardWork {
  // These shards are computed next, in this order.
  std::function<void(const std::vector<std::uint32_t>& shards)> begin;
  std::function<std::uint32_t(std::uint32_t shard)> samples;  // in this round; may be 0
  // A scalar, the mean over the shard's samples [first, first + count): all of them, or a part.
  std::function<at::Tensor(std::uint32_t shard, std::uint32_t first, std::uint32_t count)> loss;
  // A hash of the numbers of the samples that loss() was computed from.
  std::function<std::uint64_t(std::uint32_t shard)> drawn;
  // Asked on the lead when it publishes.
  std::function<round::Directive()> directive;
  // The next round's, if nothing but instep lies between the two and its first shard may be begun
  // before this round is over.
  std::function<ShardWork()> next;
};

// What a newcomer takes over beside the parameters: the loop's own parts of a book.
struct Handover {
  std::vector<std::byte> state, history, log;
};

class Engine : private round::Turn::Agent {
 public:
  // `resumed`: the checkpoint to start from. Blocks until the view is there and all members have
  // written their slices of the initial state; an agent that joins a run under way, and one with
  // neither shard nor slice, is a spare until enter().
  static Result<std::unique_ptr<Engine>> start(Session& session, const job::Job& job,
                                               torch::nn::Module& module,
                                               torch::optim::Optimizer& optimizer,
                                               const std::optional<store::Found>& resumed);
  ~Engine() override;

  // A spare waits until it is a member, and takes the state over. Nothing if the run ended first.
  Result<std::optional<Handover>> enter();

  member::AgentId me() const { return session_.me(); }
  bool spare() const { return !member_; }  // has no part in the run yet, or not any more
  bool left() const { return left_; }      // was a member, and was let go
  bool lead() const;                       // the lowest of those who take part now
  // Those who take part in gathers now, ascending.
  std::vector<member::AgentId> participants() const;
  const member::View& view() const { return seat_.view(); }
  const std::vector<std::uint32_t>& my_shards() const { return my_shards_; }
  std::uint64_t round() const { return round_; }      // rounds done
  std::uint64_t updates() const { return updates_; }  // of them, those that were applied
  bool replicas_step() const { return rule_ == sync::Rule::kReplica; }

  // From now on no code but instep's runs between one round and the next: a silence there is judged
  // as one in a round, and what takes longer gives signs of life or is Outside. Elsewhere a silence
  // may last as long as the job allows.
  void only_ours_between_rounds() { only_ours_ = true; }
  bool only_ours() const { return only_ours_; }
  // What follows, until the next round, may take as long.
  void outside() { busy(fabric::Busy::kOutside); }
  // The same as long as it lives.
  class Outside {
   public:
    explicit Outside(Engine& engine)
        : engine_(engine), was_(engine.session_.words().busy.load(std::memory_order_relaxed)) {
      engine.outside();
    }
    ~Outside() { engine_.busy(static_cast<fabric::Busy>(was_)); }
    Outside(const Outside&) = delete;
    Outside& operator=(const Outside&) = delete;

   private:
    Engine& engine_;
    const std::uint32_t was_;
  };
  // A sign of life from long work between ops.
  void beat() { session_.words().beats.fetch_add(1, std::memory_order_relaxed); }
  // The number of the view with which the slot's agent became a member; 0 if it is none. From any
  // thread.
  std::uint32_t member_since(member::AgentId agent) const {
    return since_[static_cast<std::size_t>(agent)].load();
  }
  // The loop's parts of the next book, written when a round begins.
  round::BookWriter& book() { return book_; }

  // One round. The outcome says what happened; after one with a bad shard or norm the round is not
  // done unless the job skips it. `factor`: the schedule's. `state`: the loop's, for the book.
  // Members may change at its beginning and in its midst; afterwards left() may be true, and then
  // nothing was done.
  Result<round::Outcome> run_round(const ShardWork& work, double factor,
                                   std::span<const std::byte> state);

  // Everybody's bytes in the order of participants(); they stay valid until the next call but one.
  // What `make` gives must not depend on who takes part: it is asked again when that changes.
  using Parts = std::vector<std::span<const std::byte>>;
  using Make = std::function<Result<std::vector<std::byte>>()>;
  Result<Parts> gather(const Make& make);
  // The same where it does depend on it: kAgain if the participants have changed.
  Result<Parts> gather_share(std::span<const std::byte> mine);

  // The norm of the last round's parameter change, if job.stop asks for it.
  double parameter_change() const { return parameter_change_; }

  // The state as named tensors over the live memory; valid until the next round.
  std::vector<store::TensorBytes> parameters() const;       // trained, frozen and buffers
  std::vector<store::TensorBytes> optimizer_state() const;  // "NAME.exp_avg", …, "NAME.ema"
  // Which elements of trained parameter i (and its moments) this agent owns, as flat ranges.
  const std::vector<reduce::Range>& my_ranges() const { return my_ranges_; }
  const model::Binding& binding() const { return binding_; }
  bool parameters_finite() const;
  // While true the module's parameters are their moving average, if the job keeps one; nothing may
  // be trained then.
  void use_average(bool use);

  std::uint64_t bytes_sent() const { return bytes_sent_; }
  std::uint64_t bytes_received() const { return bytes_received_; }
  double waited_seconds() const { return runner_.waited_seconds; }

 private:
  // Of smaller models the whole exchange costs less than saying more about it.
  static constexpr std::uint64_t kOpenElements = 1 << 20;

  Engine(Session& session, const job::Job& job)
      : session_(session),
        seat_(session.seat()),
        runner_(session.runner()),
        turn_(seat_, *this),
        book_(session.arena(), session.words()),
        job_(job) {}
  Status restore(const store::Found& found);
  Status fill_my_slices(const std::optional<store::Found>& resumed);
  Status write_my_slices(const std::optional<store::Found>& resumed);
  // What owners keep of each parameter beside it, and its suffix in files.
  std::vector<std::pair<std::string, float*>> state_regions() const;
  // Of a turn.
  Result<std::vector<std::uint32_t>> take_up(bool in_round) override;
  void begin_round() override;
  void begin_shards();
  void will_compute(const std::vector<std::uint32_t>& shards) override { work_->begin(shards); }
  Status compute(std::uint32_t shard) override;
  const std::vector<std::uint32_t>& shards() const override { return my_shards_; }
  std::optional<round::Posted> open_round(fabric::Ticket ticket, bool first) override;
  round::Posted post_round(fabric::Ticket ticket, bool first) override;
  round::Judging judging() override;
  round::Update* update() override;
  Result<round::Posted> post_gather(fabric::Ticket ticket, bool first) override;
  round::Exchange& exchange() override { return *exchange_; }

  // Of the next round, while the other hosts' sums of this one come (engine_ahead.cc).
  bool may_begin_ahead() const;
  Result<round::Turn::Step> run_turn();
  std::optional<Result<round::Turn::Step>> begin_ahead();
  void go_on_until_there(const reduce::Range& range);
  void drop_ahead();
  at::Tensor take_ahead(std::uint32_t shard);

  round::Setup setup_for(const member::View& view) const;
  void make_exchange(std::vector<reduce::Range> units);
  std::uint64_t post(const round::Part& part, bool first);
  void finish_round(const round::Outcome& outcome);
  void busy(fabric::Busy what);
  // Rounds begun, as ops count them: one that failed is behind us too.
  std::uint64_t ops_before() const { return round_ + (failed_ ? 1 : 0); }
  [[noreturn]] void damaged(std::uint64_t block);
  Result<Parts> run_gather();
  void write_book();
  Result<std::span<const std::byte>> restore(const round::Book& book);
  Result<std::vector<std::byte>> book_for(const member::View& view, bool& overtaken);
  bool wants_change() const { return job_.stop.parameter_change > 0 && !replicas_step(); }
  // `begun`: the first part's loss, or undefined.
  Result<double> compute_shard(const ShardWork& work, std::uint32_t shard, std::uint32_t samples,
                               at::Tensor begun);
  at::Tensor forward(const ShardWork& work, std::uint32_t shard, std::uint32_t first,
                     std::uint32_t count) const;
  void point_at_parameters();
  const float* carried_state() const;
  void restore_carried();
  void step_replica();

  Session& session_;
  round::Seat& seat_;
  round::Runner& runner_;
  round::Turn turn_;
  round::BookWriter book_;
  job::Job job_;
  torch::optim::Optimizer* optimizer_ = nullptr;
  model::Binding binding_;
  sync::Rule rule_ = sync::Rule::kReplica;
  std::vector<double> base_lr_;  // [group]
  std::optional<sync::StateMemory> memory_;
  std::unique_ptr<model::Gradients> gradients_;
  std::unique_ptr<round::Exchange> exchange_;
  std::unique_ptr<round::UndoSlot> undo_;
  std::unique_ptr<round::Update> update_;
  round::Setup setup_;
  std::vector<std::uint32_t> my_shards_;
  std::vector<reduce::Range> my_ranges_, my_units_;
  std::vector<round::ShardRow> rows_;
  std::array<std::atomic<std::uint32_t>, fabric::kMaxSlots> since_{};
  bool failed_ = false;  // the last round was no round: the run is about to end
  bool member_ = false, left_ = false;
  bool only_ours_ = false;  // between rounds
  bool partial_ = false;    // the exchange has only the units that a round taken over had left

  // Of the turn under way.
  const ShardWork* work_ = nullptr;
  std::span<const std::byte> loop_state_;
  const Make* make_ = nullptr;

  // The forward pass of a shard of the round after the one that is due, or due by now; and what the
  // turn came to while it was made.
  struct Ahead {
    std::uint64_t round = 0;
    std::uint32_t shard = 0;
    at::Tensor loss;
    bool spoilt = false;  // the round was not over when its result was needed
    std::optional<Result<round::Turn::Step>> ended;
  };
  std::optional<Ahead> ahead_;

  std::vector<std::byte*> mails_[2];  // of the op under way and the one before, by slot_
  int slot_ = 0;
  std::uint64_t untold_ = 0;  // elements settled since the bridge was told
  std::uint64_t round_ = 0, updates_ = 0;
  std::uint64_t bytes_sent_ = 0, bytes_received_ = 0;
  double parameter_change_ = 0;
};

}  // namespace instep::train
