// Trains a bound module round by round through the exchange: computes this agent's shards,
// publishes, runs the machine, moves on to the other parameter buffer. Knows nothing of data,
// epochs or metrics.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "job/job.h"
#include "model/binding.h"
#include "model/gradients.h"
#include "round/exchange.h"
#include "store/checkpoint.h"
#include "store/digest.h"
#include "store/safetensors.h"
#include "sync/owner_update.h"
#include "train/session.h"

namespace instep::train {

// What a shard's computation is given, and asked for.
struct ShardWork {
  std::function<std::uint32_t(std::uint32_t shard)> samples;  // in this round; may be 0
  // A scalar, the mean over the shard's samples [first, first + count): all of them, or a part.
  std::function<at::Tensor(std::uint32_t shard, std::uint32_t first, std::uint32_t count)> loss;
};

class Engine {
 public:
  // `resumed`: the checkpoint to start from. Blocks until the view is there and all members have
  // written their slices of the initial state.
  static Result<std::unique_ptr<Engine>> start(Session& session, const job::Job& job,
                                               torch::nn::Module& module,
                                               torch::optim::Optimizer& optimizer,
                                               const std::optional<store::Found>& resumed);
  ~Engine();

  member::AgentId me() const { return session_.me(); }
  bool spare() const;  // this agent has nothing to do in the view
  bool lead() const;   // the view's lowest member
  const member::View& view() const { return view_; }
  const std::vector<std::uint32_t>& my_shards() const { return my_shards_; }
  std::uint64_t round() const { return round_; }      // rounds done
  std::uint64_t updates() const { return updates_; }  // of them, those that were applied
  bool replicas_step() const { return rule_ == sync::Rule::kReplica; }

  // One round. The outcome says what happened; after one with a bad shard or norm the round is not
  // done unless the job skips it. `factor`: the schedule's.
  Result<round::Outcome> run_round(const ShardWork& work, double factor,
                                   round::Directive directive);

  // Everybody's bytes in member order; they stay valid until the next call.
  Result<std::vector<std::span<const std::byte>>> gather(std::span<const std::byte> mine);

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
  Engine(Session& session, const job::Job& job) : session_(session), job_(job) {}
  Status restore(const store::Found& found);
  Status fill_my_slices(const std::optional<store::Found>& resumed);
  // What owners keep of each parameter beside it, and its suffix in files.
  std::vector<std::pair<std::string, float*>> state_regions() const;
  Status take_up(const member::View& view);
  std::uint64_t post(const round::Part& part);
  Result<std::vector<round::ShardRow>> compute(const ShardWork& work);
  Result<double> compute_shard(const ShardWork& work, std::uint32_t shard, std::uint32_t samples);
  void point_at_parameters();
  const float* carried_state() const;
  void restore_carried();
  void step_replica();

  Session& session_;
  job::Job job_;
  torch::optim::Optimizer* optimizer_ = nullptr;
  model::Binding binding_;
  sync::Rule rule_ = sync::Rule::kReplica;
  std::vector<double> base_lr_;  // [group]
  std::optional<sync::StateMemory> memory_;
  std::unique_ptr<model::Gradients> gradients_;
  std::unique_ptr<round::Exchange> exchange_;
  std::unique_ptr<round::Update> update_;
  round::Runner runner_;
  member::View view_;
  std::vector<std::uint32_t> my_shards_;
  std::vector<reduce::Range> my_ranges_;

  struct Mail {
    std::byte* at = nullptr;
    std::size_t capacity = 0;
  };
  Mail mail_[2];  // by the ticket's lowest bit
  std::uint32_t ticket_ = 0;
  std::uint64_t round_ = 0, updates_ = 0;
  std::uint64_t bytes_sent_ = 0, bytes_received_ = 0;
  double parameter_change_ = 0;
};

}  // namespace instep::train
