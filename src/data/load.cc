#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

// The first `limit` samples; 0 is all.
void shorten(Table& table, std::int64_t limit) {
  if (limit <= 0 || static_cast<std::uint64_t>(limit) >= table.size) return;
  table.size = static_cast<std::uint64_t>(limit);
}

// Labels as float targets of one column, for mse and bce.
Status classes_to_targets(Table& table, const std::string& name) {
  INSTEP_ASSIGN_OR_RETURN(Memory memory, allocate_array(table.size, 1, sizeof(float), name));
  auto* targets = reinterpret_cast<float*>(memory.get());
  for (std::uint64_t i = 0; i < table.size; ++i) {
    targets[i] = static_cast<float>(table.classes[i]);
  }
  table.classes = nullptr;
  table.class_count = 0;
  table.targets = targets;
  table.target_width = 1;
  table.keep = keep_all({table.keep, memory});
  return {};
}

// Brings a table's targets to what the loss needs, and judges them.
Status fit_to_loss(Table& table, const std::string& name, std::int64_t classes, job::Loss loss) {
  if (loss == job::Loss::kCrossEntropy) {
    if (table.classes == nullptr) {
      return invalid(cat(name, " holds f32 targets; the loss cross-entropy needs integer labels"));
    }
    const std::int64_t limit = classes > 0 ? classes : kMaxInferredClasses;
    table.class_count = 0;
    for (std::uint64_t i = 0; i < table.size; ++i) {
      if (table.classes[i] >= limit) {
        return invalid(
            cat(name, ": sample ", i, " (counted from 0) has the label ", table.classes[i], "; ",
                classes > 0 ? "data.classes allows" : "the most is", " 0 to ", limit - 1));
      }
      table.class_count = std::max<std::int64_t>(table.class_count, table.classes[i] + INT64_C(1));
    }
    return {};
  }
  if (table.classes != nullptr) INSTEP_RETURN_IF_ERROR(classes_to_targets(table, name));
  if (loss != job::Loss::kBce) return {};
  const auto width = static_cast<std::uint64_t>(table.target_width);
  for (std::uint64_t i = 0; i < table.size * width; ++i) {
    if (!(table.targets[i] >= 0 && table.targets[i] <= 1)) {
      return invalid(cat(name, ": sample ", i / width, " (counted from 0) has the target ",
                         table.targets[i], "; 0 to 1 is due with loss bce"));
    }
  }
  return {};
}

Status check_alike(const Dataset& dataset, const job::Data& spec) {
  if (dataset.test.size == 0) return {};
  const Table& train = dataset.train;
  const Table& test = dataset.test;
  if (train.shape != test.shape) {
    return invalid(cat(spec.test_samples, " holds samples of ", shape_text(test.shape), " and ",
                       spec.train_samples, " of ", shape_text(train.shape),
                       "; they must be alike"));
  }
  if (train.target_width != test.target_width) {
    return invalid(cat(spec.test_targets, " holds targets of ", test.target_width, " values and ",
                       spec.train_targets, " of ", train.target_width, "; they must be alike"));
  }
  return {};
}

// Both tables speak of the same classes.
void unify_classes(Dataset& dataset, std::int64_t classes) {
  if (dataset.train.classes == nullptr) return;
  const std::int64_t count =
      classes > 0 ? classes : std::max(dataset.train.class_count, dataset.test.class_count);
  dataset.train.class_count = count;
  if (dataset.test.size > 0) dataset.test.class_count = count;
}

// What a table of labels or values needs once it is read, whatever the file was. `targets` is what
// errors call the place of the targets.
Result<Table> finish(Table table, const std::string& targets, const job::Data& spec,
                     std::int64_t limit, job::Loss loss) {
  shorten(table, limit);
  table.scale = static_cast<float>(spec.scale);
  table.shift = static_cast<float>(spec.shift);
  INSTEP_RETURN_IF_ERROR(fit_to_loss(table, targets, spec.classes, loss));
  return table;
}

Result<Table> load_idx_part(const std::string& samples, const std::string& targets,
                            const job::Data& spec, std::int64_t limit, job::Loss loss) {
  if (samples.empty() || targets.empty()) {
    return invalid("IDX data needs a file of samples and one of targets; set both");
  }
  INSTEP_ASSIGN_OR_RETURN(Table table, load_idx(samples, targets));
  return finish(std::move(table), targets, spec, limit, loss);
}

// `part` is "train" or "test".
Result<Table> load_npy_part(const char* part, const std::string& samples,
                            const std::string& targets, const job::Data& spec, std::int64_t limit,
                            job::Loss loss) {
  if (samples.empty()) {
    return invalid(cat("data.", part, "_targets is set without data.", part,
                       "_samples; set both, or neither"));
  }
  INSTEP_ASSIGN_OR_RETURN(const bool archive, is_npz(samples));
  if (archive != targets.empty()) {
    return invalid(archive ? cat(samples, " is an NPZ archive, whose targets are its array ",
                                 spec.targets_key, " (data.targets_key); leave data.", part,
                                 "_targets empty")
                           : cat(samples, " holds one array, the samples; name the file of their ",
                                 "targets in data.", part, "_targets (or use an NPZ archive)"));
  }
  if (archive) {
    INSTEP_ASSIGN_OR_RETURN(Table table, load_npz(samples, spec.samples_key, spec.targets_key));
    return finish(std::move(table), cat(samples, ", array ", spec.targets_key, ","), spec, limit,
                  loss);
  }
  INSTEP_ASSIGN_OR_RETURN(Table table, load_npy(samples, targets));
  return finish(std::move(table), targets, spec, limit, loss);
}

Result<Table> load_part(bool test, const job::Data& spec, job::Loss loss) {
  const std::string& samples = test ? spec.test_samples : spec.train_samples;
  const std::string& targets = test ? spec.test_targets : spec.train_targets;
  const std::int64_t limit = test ? spec.test_limit : spec.limit;
  if (spec.format == job::DataFormat::kIdx) {
    return load_idx_part(samples, targets, spec, limit, loss);
  }
  if (spec.format == job::DataFormat::kNpy) {
    return load_npy_part(test ? "test" : "train", samples, targets, spec, limit, loss);
  }
  if (spec.format == job::DataFormat::kText) {
    if (loss != job::Loss::kCrossEntropy) return invalid("text is learnt with loss cross-entropy");
    INSTEP_ASSIGN_OR_RETURN(Table table, load_text(samples, spec.context));
    shorten(table, limit);
    return table;
  }
  const std::string& place = samples.empty() ? spec.train_samples : samples;
  INSTEP_ASSIGN_OR_RETURN(Table table, load_cifar(place, test));
  return finish(std::move(table), place, spec, limit, loss);
}

// Training and test files of one kind.
Result<Dataset> load_files(const job::Data& spec, job::Loss loss) {
  if (spec.train_samples.empty()) {
    return invalid(cat(to_text(spec.format), " data needs data.train_samples"));
  }
  Dataset out;
  INSTEP_ASSIGN_OR_RETURN(out.train, load_part(false, spec, loss));
  bool test = !spec.test_samples.empty() || !spec.test_targets.empty();
  if (!test && spec.format == job::DataFormat::kCifar) {
    INSTEP_ASSIGN_OR_RETURN(test, cifar_has_test(spec.train_samples));
  }
  if (test) {
    INSTEP_ASSIGN_OR_RETURN(out.test, load_part(true, spec, loss));
  }
  return out;
}

Result<Dataset> load_csv_set(const job::Data& spec, job::Loss loss) {
  if (spec.train_samples.empty()) return invalid("CSV data needs a file of training samples");
  Dataset out;
  INSTEP_ASSIGN_OR_RETURN(CsvFile train, read_csv(spec.train_samples, spec, loss));
  out.train = std::move(train.table);
  shorten(out.train, spec.limit);
  if (!spec.test_samples.empty()) {
    INSTEP_ASSIGN_OR_RETURN(CsvFile test, read_csv(spec.test_samples, spec, loss));
    const std::size_t both = std::min(train.columns.size(), test.columns.size());
    for (std::size_t i = 0; i < both; ++i) {
      if (train.columns[i] != test.columns[i]) {
        return invalid(cat(spec.test_samples, ":1: column ", i + 1, " is '", test.columns[i],
                           "', in ", spec.train_samples, " it is '", train.columns[i],
                           "'; both need the same columns in the same order"));
      }
    }
    out.test = std::move(test.table);
    shorten(out.test, spec.test_limit);
  }
  return out;
}

Result<Dataset> load_synthetic_set(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  INSTEP_ASSIGN_OR_RETURN(Dataset out, make_synthetic(spec, loss, seed));
  shorten(out.train, spec.limit);
  shorten(out.test, spec.test_limit);
  return out;
}

Result<Dataset> load_any(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  switch (spec.format) {
    case job::DataFormat::kIdx:
    case job::DataFormat::kNpy:
    case job::DataFormat::kCifar:
    case job::DataFormat::kText:
      return load_files(spec, loss);
    case job::DataFormat::kCsv:
      return load_csv_set(spec, loss);
    case job::DataFormat::kSynthetic:
      return load_synthetic_set(spec, loss, seed);
    case job::DataFormat::kNone:
      break;
  }
  return invalid("the job names no data; set data.format");
}

}  // namespace

Result<Dataset> load(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  INSTEP_ASSIGN_OR_RETURN(Dataset out, load_any(spec, loss, seed));
  INSTEP_RETURN_IF_ERROR(check_alike(out, spec));
  unify_classes(out, spec.classes);
  return out;
}

Status check_split(const Dataset& dataset, const job::Split& split) {
  if (dataset.test.size == 0 || split.test == 0) return {};
  return invalid(cat("split.test = ", split.test,
                     ", and the data brings a test set of its own, of ", dataset.test.size,
                     " samples; use one of the two"));
}

}  // namespace instep::data
