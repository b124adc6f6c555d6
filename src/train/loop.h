// The training loop over a dataset: which round is next, which samples are whose, what an epoch of
// data sums up to, when to save and when to stop. All decisions are functions of the job and of
// what every member knows, so all members decide alike.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/sampler.h"
#include "instep/run.h"
#include "train/engine.h"
#include "train/progress.h"
#include "train/read_ahead.h"
#include "train/saver.h"

namespace instep::train {

struct Callbacks {
  std::vector<std::function<void(const RoundInfo&)>> round;
  std::vector<std::function<void(EpochInfo&)>> epoch;
  std::vector<std::function<void(const EventInfo&)>> event;
  std::vector<std::function<void(const CheckpointInfo&)>> checkpoint;
  bool quiet = false;  // alone, no line for each epoch
};

class Loop {
 public:
  // `run_dir` empty: no checkpoints. `callbacks` outlives the loop.
  Loop(Session& session, Engine& engine, const job::Job& job, std::filesystem::path run_dir,
       const Callbacks& callbacks, std::shared_ptr<const data::Table> table,
       std::vector<std::uint64_t> samples);

  // Takes over where a checkpoint stood.
  Status resume(const store::Found& found);
  // Takes over where the members of a run under way stand.
  Status enter(const Handover& handover);

  bool more() const;
  std::uint64_t data_epoch() const { return engine_.round() / rounds_per_epoch_; }
  // One round. Ends the process on what cannot be mended.
  double step(const std::function<at::Tensor(const Batch&)>& loss);
  // The last checkpoint and the ledger of an epoch cut short. Once, by all members.
  void finish();

  const Progress& progress() const { return progress_; }
  // Measured with the parameters as they are now; empty if nothing was. After the last round a
  // program may set them, all members the same.
  const std::map<std::string, double>& final_metrics() const;
  void set_final_metrics(std::map<std::string, double> metrics) { measured_ = std::move(metrics); }
  // After finish(), by all members: whether training ended where nothing was measured and there is
  // time to (an interrupt wants the end, not figures).
  bool wants_measuring();
  const std::string& stopped() const { return stopped_; }
  const Saved& last_checkpoint() const { return last_checkpoint_; }
  std::uint64_t rounds() const { return rounds_; }
  double data_epochs() const;
  std::int64_t first_round_ns() const { return first_round_ns_; }
  double train_seconds() const { return train_seconds_; }
  double samples_per_second() const;
  // Time of training that went into making batches, or waiting for them.
  double data_wait_ms() const { return waited_ms_ + (batches_ ? batches_->waited_ms() : 0); }

 private:
  using Clock = std::chrono::steady_clock;

  ReadAhead::Setup read_ahead(const std::vector<std::uint32_t>& shards) const;
  void take_shards(const std::vector<std::uint32_t>& shards, std::uint64_t round);
  ShardWork work(const std::function<at::Tensor(const Batch&)>& loss, std::uint64_t round);
  bool next_follows() const;
  std::vector<std::byte> state() const;
  Status try_tally(std::uint64_t due);
  void save_last();
  bool bad(const round::Outcome& outcome) const;
  [[noreturn]] void stop_for(const round::Outcome& outcome);
  void event(const std::string& kind, const std::string& reason);
  void after_round(const round::Outcome& outcome);
  void end_epoch();
  void follow_history();
  void count(const round::Outcome& outcome);
  Status tally(std::uint64_t due);
  void save();
  bool save_due() const;
  void tell_checkpoints();
  void tell_round(const round::Outcome& outcome);
  [[noreturn]] void fail(const Error& error) { session_.fail(error); }

  Session& session_;
  Engine& engine_;
  const job::Job job_;
  const Callbacks& callbacks_;
  const std::shared_ptr<const data::Table> table_;
  const data::Sampler sampler_;
  const std::uint64_t rounds_per_epoch_;
  const std::uint64_t rounds_;
  Ledger ledger_;
  Progress progress_;
  std::unique_ptr<ReadAhead> batches_;      // of shards_
  std::vector<std::uint32_t> shards_;       // computed next, or last
  double waited_ms_ = 0;                    // of ReadAheads that are gone
  std::map<std::string, double> measured_;  // by set_final_metrics()
  std::string stopped_;
  std::string asked_;  // why the lead wanted the round under way to be the last
  bool finished_ = false;

  std::mutex told_mutex_;
  std::vector<Saved> told_;  // guarded by told_mutex_: checkpoints to tell callbacks of
  Saved last_checkpoint_;
  std::uint64_t saved_round_ = ~0ULL;
  const std::filesystem::path run_dir_;
  std::unique_ptr<Saver> saver_;

  Clock::time_point started_ = Clock::now(), told_at_ = Clock::now();
  std::int64_t first_round_ns_ = 0;
  double train_seconds_ = 0;
  std::uint64_t samples_done_ = 0, samples_told_ = 0, first_samples_ = 0;
  double factor_ = 1;          // of the schedule by round
  double history_factor_ = 1;  // of the epochs before
};

}  // namespace instep::train
