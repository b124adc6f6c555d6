#include "train/loop.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "sync/schedule.h"
#include "train/batches.h"

namespace instep::train {

using nlohmann::json;

namespace {

// Of a loss that is not finite; a NaN's sign means nothing.
std::string text_of(double loss) { return std::isnan(loss) ? "NaN" : cat(loss); }

}  // namespace

Loop::Loop(Session& session, Engine& engine, const job::Job& job, std::filesystem::path run_dir,
           const Callbacks& callbacks, std::shared_ptr<const data::Table> table,
           std::vector<std::uint64_t> samples)
    : session_(session),
      engine_(engine),
      job_(job),
      callbacks_(callbacks),
      table_(std::move(table)),
      sampler_(std::move(samples), table_->class_span(), job.partition,
               static_cast<std::uint32_t>(job.shards), static_cast<std::uint64_t>(job.batch),
               job.seed),
      rounds_per_epoch_(sampler_.rounds_per_epoch()),
      rounds_(rounds_per_epoch_ * static_cast<std::uint64_t>(job.epochs)),
      shards_(engine.my_shards()),
      run_dir_(std::move(run_dir)) {
  session_.seat().plan(rounds_);
  session_.words().status.rounds.store(rounds_);
  session_.words().status.state.store(static_cast<std::uint32_t>(
      engine_.spare() ? fabric::AgentState::kReady : fabric::AgentState::kTraining));
  if (run_dir_.empty() || engine_.spare()) return;
  saver_ = std::make_unique<Saver>(session_, engine_, job_, run_dir_, [this](const Saved& saved) {
    const std::lock_guard lock(told_mutex_);
    told_.push_back(saved);
  });
}

// Batches are made for the shards that are computed next: all of mine, or those of a dead agent in
// the midst of a round.
void Loop::take_shards(const std::vector<std::uint32_t>& shards, std::uint64_t round) {
  if (!batches_ || shards != shards_) {
    if (batches_) waited_ms_ += batches_->waited_ms();
    shards_ = shards;
    batches_ = std::make_unique<ReadAhead>(table_, sampler_, read_ahead(shards));
  }
  batches_->begin_round(round);
}

ReadAhead::Setup Loop::read_ahead(const std::vector<std::uint32_t>& shards) const {
  ReadAhead::Setup setup{shards, rounds_per_epoch_, rounds_, false, {}};
  if (shards != engine_.my_shards()) return setup;
  std::uint64_t samples = 0;
  for (const std::uint32_t shard : setup.shards) samples += sampler_.batch_size(shard, 0);
  const std::uint64_t busy =
      engine_.view().members.size() * static_cast<std::uint64_t>(job_.threads);
  const bool alone = session_.alone();
  const auto processors = static_cast<std::uint64_t>(
      alone ? static_cast<std::uint32_t>(usable_cpu_count()) : session_.welcome().processors);
  setup.ahead = job_.accumulate == 1 && ReadAhead::pays(*table_, samples, busy, processors);
  // A bound agent's own processors are busy; others are where its launcher may run.
  if (alone || !setup.ahead) return setup;
  const std::vector<int> mine = usable_cpus();
  for (const int cpu : usable_cpus(::getppid())) {
    if (std::find(mine.begin(), mine.end(), cpu) == mine.end()) setup.cpus.push_back(cpu);
  }
  return setup;
}

bool Loop::more() const {
  return !engine_.spare() && stopped_.empty() && engine_.round() < rounds_;
}

double Loop::data_epochs() const {
  return rounds_per_epoch_ == 0
             ? 0
             : static_cast<double>(engine_.round()) / static_cast<double>(rounds_per_epoch_);
}

const std::map<std::string, double>& Loop::final_metrics() const {
  const bool of_now = !progress_.epochs.empty() && progress_.epochs.back().round == engine_.round();
  return of_now && measured_.empty() ? progress_.epochs.back().metrics : measured_;
}

double Loop::samples_per_second() const {
  // The first round pays for cold memory and cold code; it is counted only if it is all there is.
  return train_seconds_ > 0 ? static_cast<double>(samples_done_ - first_samples_) / train_seconds_
                            : 0;
}

ShardWork Loop::work(const std::function<at::Tensor(const Batch&)>& loss, std::uint64_t round) {
  const std::uint64_t in_epoch = round % rounds_per_epoch_;
  const auto index = [this](std::uint32_t shard) {
    return static_cast<std::size_t>(std::find(shards_.begin(), shards_.end(), shard) -
                                    shards_.begin());
  };
  ShardWork work;
  work.begin = [this, round](const std::vector<std::uint32_t>& shards) {
    take_shards(shards, round);
  };
  work.samples = [this, in_epoch](std::uint32_t shard) {
    return static_cast<std::uint32_t>(sampler_.batch_size(shard, in_epoch));
  };
  work.loss = [this, &loss, index](std::uint32_t shard, std::uint32_t first, std::uint32_t count) {
    return loss(job_.accumulate > 1 ? batches_->take_part(index(shard), first, count)
                                    : batches_->take(index(shard)));
  };
  work.drawn = [this, index](std::uint32_t shard) {
    return drawn_hash(batches_->samples(index(shard)));
  };
  work.directive = [this] {
    asked_ = session_.stop_reason();
    return asked_.empty() ? round::Directive::kNone : round::Directive::kStop;
  };
  return work;
}

// Whether the next round follows this one with nothing of the program's in between.
bool Loop::next_follows() const {
  const std::uint64_t next = engine_.round() + 1;
  return engine_.only_ours() && callbacks_.round.empty() && job_.accumulate == 1 &&
         next < rounds_ && next % rounds_per_epoch_ != 0;
}

double Loop::step(const std::function<at::Tensor(const Batch&)>& loss) {
  factor_ = history_factor_ *
            sync::schedule_factor(job_.schedule, engine_.round(), rounds_per_epoch_, rounds_);
  asked_.clear();
  ShardWork due = work(loss, engine_.round());
  if (next_follows()) due.next = [this, &loss] { return work(loss, engine_.round() + 1); };
  Result<round::Outcome> outcome = engine_.run_round(due, factor_, state());
  if (!outcome.ok()) fail(outcome.error());
  if (engine_.left()) {
    stopped_ = "it was let go";
    return 0;
  }
  if (bad(*outcome)) {
    if (job_.on_nonfinite == job::OnNonfinite::kStop) stop_for(*outcome);
    event("skipped", outcome->bad_shard
                         ? cat("the loss of shard ", *outcome->bad_shard, " is not finite")
                         : std::string("the gradient's norm is not finite"));
  }
  count(*outcome);
  if (outcome->directive == round::Directive::kStop) {
    stopped_ = asked_.empty() ? "asked to stop" : asked_;
  }
  after_round(*outcome);
  return outcome->loss;
}

bool Loop::bad(const round::Outcome& outcome) const {
  return outcome.bad_shard.has_value() || (outcome.bad_norm && !outcome.applied);
}

// The state before the bad round is whole; it is saved unless the parameters had been spoilt
// before.
void Loop::stop_for(const round::Outcome& outcome) {
  engine_.outside();
  std::string what =
      outcome.bad_shard
          ? cat("the loss of shard ", *outcome.bad_shard, " is ",
                text_of(outcome.rows[*outcome.bad_shard].loss), " in round ", engine_.round())
          : cat("the combined gradient's norm is not finite in round ", engine_.round());
  const bool finite = engine_.parameters_finite();
  if (saver_ && finite) {
    save();
    saver_->wait();
    if (engine_.lead() && saver_->newest().whole) {
      what += cat("; the state before it is saved in ", saver_->newest().folder.string());
    }
  } else if (saver_) {
    what += "; the parameters are not finite any more, so the last checkpoint was kept";
  }
  what += "; lower optimizer.lr, clip (optimizer.clip_norm), or set on_nonfinite = \"skip\"";
  // Nobody leaves before the lead has saved, and all say what the lead says, since any of them may
  // be heard first.
  const auto text = [&what]() -> Result<std::vector<std::byte>> {
    const auto bytes = std::as_bytes(std::span(what));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  if (const auto all = engine_.gather(text); all.ok()) {
    const std::span<const std::byte> leads = all->front();
    what.assign(reinterpret_cast<const char*>(leads.data()), leads.size());
  }
  fail(invalid(what));
}

void Loop::event(const std::string& kind, const std::string& reason) {
  EventInfo info{engine_.round(), kind, reason};
  if (engine_.lead()) {
    session_.progress("event", json{{"round", info.round},
                                    {"kind", kind},
                                    {"agent", -1},
                                    {"stall_ms", 0},
                                    {"reason", reason}}
                                   .dump());
  }
  for (const auto& call : callbacks_.event) call(info);
}

void Loop::count(const round::Outcome& outcome) {
  if (!outcome.applied) return;
  const std::uint64_t in_epoch = (engine_.round() - 1) % rounds_per_epoch_;
  engine_.book().append(std::as_bytes(ledger_.count(in_epoch, outcome.rows)));
  failpoint("count.booked");
  std::uint64_t mine = 0;
  for (const std::uint32_t shard : engine_.my_shards()) mine += outcome.rows[shard].samples;
  session_.words().status.samples.fetch_add(mine, std::memory_order_relaxed);
  progress_.loss_sum += outcome.loss * static_cast<double>(outcome.samples);
  progress_.loss_samples += outcome.samples;
}

void Loop::after_round(const round::Outcome& outcome) {
  samples_done_ += outcome.samples;
  if (first_round_ns_ == 0) {
    first_round_ns_ = monotonic_ns();
    started_ = Clock::now();
    told_at_ = started_;
    first_samples_ = samples_done_;
    samples_told_ = samples_done_;
  } else {
    train_seconds_ = std::chrono::duration<double>(Clock::now() - started_).count();
  }
  fabric::AgentStatus& status = session_.words().status;
  status.round.store(engine_.round(), std::memory_order_relaxed);
  status.loss.store(outcome.loss, std::memory_order_relaxed);
  status.data_epoch.store(data_epochs(), std::memory_order_relaxed);
  status.waited_seconds.store(engine_.waited_seconds(), std::memory_order_relaxed);
  if (!callbacks_.round.empty()) {
    RoundInfo info{engine_.round(), data_epochs(), outcome.loss, outcome.gradient_norm,
                   outcome.samples};
    for (const auto& call : callbacks_.round) call(info);
  }
  tell_round(outcome);
  if (stopped_.empty() && outcome.applied) {  // a skipped round has no norms to judge
    stopped_ = stop_after_round(job_.stop, outcome.gradient_norm, engine_.parameter_change());
  }
  const bool epoch_done = engine_.round() % rounds_per_epoch_ == 0;
  if (epoch_done) end_epoch();
  tell_checkpoints();
  if (save_due()) save();
}

void Loop::end_epoch() {
  if (Status status = tally(sampler_.size()); !status.ok()) fail(status.error());
  EpochInfo info;
  info.data_epoch = engine_.round() / rounds_per_epoch_;
  info.round = engine_.round();
  info.train_loss = progress_.loss_samples == 0
                        ? 0
                        : progress_.loss_sum / static_cast<double>(progress_.loss_samples);
  progress_.loss_sum = 0;
  progress_.loss_samples = 0;
  if (!progress_.epochs.empty()) info.lr_factor = progress_.epochs.back().lr_factor;
  // What a program measures at an epoch's end is no training.
  const Clock::time_point paused = Clock::now();
  for (const auto& call : callbacks_.epoch) call(info);
  const Clock::duration pause = Clock::now() - paused;
  started_ += pause;
  told_at_ += pause;
  if (!std::isfinite(info.lr_factor) || info.lr_factor < 0) {
    fail(invalid(cat("a callback set the learning rates' factor to ", info.lr_factor,
                     " after epoch ", info.data_epoch, "; it is 0 or more")));
  }
  progress_.epochs.push_back(
      {info.data_epoch, info.round, info.train_loss, info.metrics, info.lr_factor});
  const std::string history = to_json(progress_);
  engine_.book().set_history(std::as_bytes(std::span(history)));
  failpoint("epoch.booked");
  if (stopped_.empty()) stopped_ = info.stop;
  if (stopped_.empty()) stopped_ = stop_after_epoch(job_, progress_.epochs);
  follow_history();
  if (!engine_.lead()) return;
  json fields{{"data_epoch", info.data_epoch},
              {"round", info.round},
              {"train_loss", info.train_loss},
              {"validation", nullptr},
              {"test", nullptr},
              {"samples_per_s", samples_per_second()},
              {"seconds", train_seconds_},
              {"pause_seconds", std::chrono::duration<double>(pause).count()}};
  for (const auto& [name, value] : info.metrics) {
    const std::size_t cut = name.find('_');
    if (cut == std::string::npos) {
      fields["metrics"][name] = value;
    } else {
      fields[name.substr(0, cut)][name.substr(cut + 1)] = value;
    }
  }
  session_.progress("epoch", fields.dump());
  if (session_.alone() && !callbacks_.quiet) {
    const std::string line = epoch_line(progress_.epochs.back(), job_.epochs);
    std::fprintf(stderr, "%s  %.0f samples/s\n", line.c_str(), samples_per_second());
  }
}

// The learning rates of the next epoch, as the epochs so far have it.
void Loop::follow_history() {
  const double before = history_factor_;
  history_factor_ = history_factor(job_, progress_.epochs);
  if (history_factor_ == before || !stopped_.empty() || engine_.round() >= rounds_) return;
  event("learning rate", cat("every learning rate is now ", number(history_factor_, 6),
                             " of its own, and was ", number(before, 6)));
}

// Adds up the epoch's ledger, of whose samples `due` were planned by now.
Status Loop::tally(std::uint64_t due) {
  while (true) {
    Status status = try_tally(due);
    if (status.ok() || status.error().kind != ErrorKind::kAgain) return status;
  }
}

Status Loop::try_tally(std::uint64_t due) {
  const std::vector<member::AgentId> all = engine_.participants();
  const auto place =
      static_cast<std::size_t>(std::find(all.begin(), all.end(), engine_.me()) - all.begin());
  const std::uint64_t data_epoch =
      engine_.round() == 0 ? 0 : (engine_.round() - 1) / rounds_per_epoch_;
  INSTEP_ASSIGN_OR_RETURN(const std::vector<std::uint8_t> mine,
                          ledger_.expand(sampler_, data_epoch, table_->size, place, all.size(),
                                         [this] { engine_.beat(); }));
  failpoint("tally.expanded");
  INSTEP_ASSIGN_OR_RETURN(const auto shares, engine_.gather_share(std::as_bytes(std::span(mine))));
  std::vector<std::span<const std::uint8_t>> counts;
  for (const auto& bytes : shares) {
    if (bytes.size() != mine.size()) {
      return Error{ErrorKind::kCorrupt, "a member's ledger has another size"};
    }
    counts.emplace_back(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  failpoint("tally.gathered");
  const SampleCounts epoch = Ledger::tally(counts, due);
  progress_.samples.due += epoch.due;
  progress_.samples.counted += epoch.counted;
  progress_.samples.missed += epoch.missed;
  progress_.samples.repeated += epoch.repeated;
  ledger_.clear();
  engine_.book().clear_log();
  failpoint("tally.done");
  return {};
}

}  // namespace instep::train
