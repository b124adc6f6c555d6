// Where a training loop stands beyond its parameters: the history of its epochs of data, the sums
// of the one under way, and the samples counted. Part of every checkpoint, so that a resumed run
// reports and judges what an uninterrupted one would.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "job/job.h"
#include "train/ledger.h"

namespace instep::train {

struct EpochRecord {
  std::uint64_t data_epoch = 0, round = 0;
  double train_loss = 0;
  std::map<std::string, double> metrics;
  double lr_factor = 1;  // a program's own, from here on
};

struct Progress {
  std::vector<EpochRecord> epochs;
  double loss_sum = 0;  // of the epoch under way: loss times samples
  std::uint64_t loss_samples = 0;
  SampleCounts samples;  // of finished epochs
};

std::string to_json(const Progress& progress);
Result<Progress> progress_from_json(std::string_view text);

// "epoch 1/3  loss 0.5  test_loss 0.4".
std::string epoch_line(const EpochRecord& epoch, std::int64_t epochs);

// Why the run should end after this epoch, or "". A pure function of the job and the history.
std::string stop_after_epoch(const job::Job& job, const std::vector<EpochRecord>& epochs);
// Why it should end after this round, or "". Norms that the job does not ask for are 0.
std::string stop_after_round(const job::Stop& stop, double gradient_norm, double parameter_change);

// What every learning rate is multiplied with in the epoch after these, beside the schedule's
// factor by round: the plateau schedule's times the program's own. A pure function of the job and
// the history, so that agents agree and a resumed run goes on with it.
double history_factor(const job::Job& job, const std::vector<EpochRecord>& epochs);

// The newest value of the stop metric: of the validation set, else of the test set; null if there
// is none.
const double* judged_metric(const job::Job& job, const EpochRecord& epoch);
// Its name, whether the newest epoch was evaluated or not.
std::string judged_name(const job::Job& job, const std::vector<EpochRecord>& epochs);

}  // namespace instep::train
