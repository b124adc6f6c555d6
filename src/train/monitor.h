// Callbacks that watch one value of an epoch's logs. Pure: what they decide follows from the epochs
// that they were told.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "instep/trainer.h"

namespace instep::train {

// A value that should fall (losses, errors, perplexity) or rise (the others).
class Monitor {
 public:
  Monitor(std::string name, double min_delta);

  // Takes the next epoch's value. False if it is no improvement by more than min_delta; a NaN and a
  // value that is not there are none.
  bool improved(const Metrics& logs);
  // After improved(): whether this epoch has the best value so far; of equal ones the last.
  bool is_best() const { return is_best_; }
  const std::string& name() const { return name_; }

 private:
  const std::string name_;
  const double sign_, min_delta_;
  std::optional<double> reference_, best_;
  bool is_best_ = false;
};

class EarlyStop : public Callback {
 public:
  explicit EarlyStop(const EarlyStopping& options)
      : monitor_(options.monitor, options.min_delta),
        patience_(options.patience),
        restore_(options.restore_best) {}
  void on_epoch_end(EpochEnd& epoch) override;
  // Whether the weights of the epoch told last are to be kept.
  bool keeps() const { return restore_ && monitor_.is_best(); }
  bool restores() const { return restore_; }

 private:
  Monitor monitor_;
  const std::int64_t patience_;
  const bool restore_;
  std::int64_t since_ = 0;
};

class ReduceRate : public Callback {
 public:
  // `lr`: the first group's.
  ReduceRate(const ReduceLROnPlateau& options, double lr)
      : monitor_(options.monitor, options.min_delta),
        options_(options),
        least_(lr > 0 ? options.min_lr / lr : 0) {}
  void on_epoch_end(EpochEnd& epoch) override;

 private:
  Monitor monitor_;
  const ReduceLROnPlateau options_;
  const double least_;
  std::int64_t since_ = 0;
};

// "val_accuracy" as the job calls the metric, "accuracy" ("top_3": "top-k"); "" if the value is
// none of a validation set.
std::string judged_word(const std::string& monitor);

}  // namespace instep::train
