// What a loop saves and tells, and its end.
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/text.h"
#include "train/loop.h"

namespace instep::train {

using nlohmann::json;

bool Loop::save_due() const {
  if (!saver_ || saved_round_ == engine_.round()) return false;
  const auto by_round = static_cast<std::uint64_t>(job_.checkpoint.every_rounds);
  const auto by_epoch =
      static_cast<std::uint64_t>(job_.checkpoint.every_epochs) * rounds_per_epoch_;
  return (by_round > 0 && engine_.round() % by_round == 0) ||
         (by_epoch > 0 && engine_.round() % by_epoch == 0);
}

void Loop::save() {
  saved_round_ = engine_.round();
  SaveNotes notes;
  notes.data_epoch = data_epochs();
  notes.metrics = final_metrics();
  notes.best_by = judged_name(job_, progress_.epochs);
  notes.progress = to_json(progress_);
  if (Result<bool> saved = saver_->save(ledger_, table_->size, notes); !saved.ok())
    fail(saved.error());
}

void Loop::tell_checkpoints() {
  if (!saver_) return;
  std::vector<Saved> told;
  {
    const std::lock_guard lock(told_mutex_);
    told.swap(told_);
  }
  for (const Saved& saved : told) {
    if (!saved.whole) {
      event("checkpoint failed", saved.problem);
      log(LogLevel::kWarning, cat("the checkpoint of round ", saved.round,
                                  " failed: ", saved.problem, "; the one before it stays"));
      continue;
    }
    last_checkpoint_ = saved;
    session_.progress("checkpoint", json{{"round", saved.round},
                                         {"path", saved.folder.string()},
                                         {"seconds", saved.seconds},
                                         {"bytes", saved.bytes}}
                                        .dump());
    for (const auto& call : callbacks_.checkpoint) call({saved.round, saved.folder.string()});
  }
}

// A line for the metrics file now and then: by time, since rounds may take microseconds.
void Loop::tell_round(const round::Outcome& outcome) {
  constexpr std::chrono::milliseconds kInterval{500};
  if (!engine_.lead()) return;
  const Clock::time_point now = Clock::now();
  if (now - told_at_ < kInterval) return;
  const double seconds = std::chrono::duration<double>(now - told_at_).count();
  json fields{{"round", engine_.round()},
              {"data_epoch", data_epochs()},
              {"loss", outcome.loss},
              {"lr_factor", factor_},
              {"samples_per_s", static_cast<double>(samples_done_ - samples_told_) / seconds}};
  if (outcome.gradient_norm > 0) fields["gradient_norm"] = outcome.gradient_norm;
  session_.progress("rounds", fields.dump());
  told_at_ = now;
  samples_told_ = samples_done_;
}

bool Loop::wants_measuring() {
  if (engine_.spare() || !final_metrics().empty()) return false;
  // Only the lead knows why the run ends, and all must measure or none.
  const auto all = engine_.gather([this]() -> Result<std::vector<std::byte>> {
    const std::string why = engine_.lead() ? session_.stop_reason() : "";
    return std::vector<std::byte>(
        1, static_cast<std::byte>(why != "interrupt" && !session_.coordinator_gone()));
  });
  if (!all.ok()) fail(all.error());
  return !all->front().empty() && all->front()[0] != std::byte{0};
}

// Until the last round's checkpoint is whole, or cannot be: one that an agent's death has spoilt is
// made again by those who are left.
void Loop::save_last() {
  enum class Verdict : std::uint8_t { kWhole, kAgain, kFailed };
  bool again = saved_round_ != engine_.round();
  while (true) {
    if (again) save();
    saver_->wait();
    tell_checkpoints();
    const auto all = engine_.gather([this]() -> Result<std::vector<std::byte>> {
      // The lead's word counts. One that has become it only now has to look.
      Verdict verdict = Verdict::kAgain;
      const Saved& mine = saver_->newest();
      const bool knows = mine.round == engine_.round();
      if (engine_.lead()) {
        const auto folder = store::checkpoint_folder(run_dir_, engine_.round());
        if ((knows && mine.whole) || store::open_checkpoint(folder).ok()) {
          verdict = Verdict::kWhole;
        } else if (knows && !mine.problem.empty() && !mine.bereft) {
          verdict = Verdict::kFailed;
        }
      }
      return std::vector<std::byte>(1, static_cast<std::byte>(verdict));
    });
    if (!all.ok()) fail(all.error());
    const auto verdict = static_cast<Verdict>(all->front().empty() ? 2 : int(all->front()[0]));
    if (verdict == Verdict::kWhole) break;
    if (verdict == Verdict::kFailed) {
      if (!engine_.lead()) break;
      fail({ErrorKind::kNoSpace,
            cat("the last checkpoint could not be written: ", saver_->newest().problem,
                last_checkpoint_.whole ? cat("; the newest whole one is ", last_checkpoint_.folder)
                                       : std::string())});
    }
    again = true;
  }
  failpoint("end.saved");
  // Who was not the lead when it was written reports it all the same.
  last_checkpoint_.whole = true;
  last_checkpoint_.round = engine_.round();
  last_checkpoint_.folder = store::checkpoint_folder(run_dir_, engine_.round());
}

void Loop::finish() {
  if (finished_ || engine_.spare()) return;
  finished_ = true;
  engine_.outside();
  if (saver_) save_last();
  const std::uint64_t in_epoch = engine_.round() % rounds_per_epoch_;
  if (in_epoch > 0) {
    std::uint64_t due = 0;
    for (std::uint64_t round = 0; round < in_epoch; ++round) {
      for (std::uint32_t shard = 0; shard < job_.shards; ++shard) {
        due += sampler_.batch_size(shard, round);
      }
    }
    if (Status status = tally(due); !status.ok()) fail(status.error());
  }
}

}  // namespace instep::train
