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

// Brings an IDX table's targets to what the loss needs, and judges them.
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

std::string shape_text(const Table& table) {
  std::vector<std::string> parts;
  for (const std::int64_t extent : table.shape) parts.push_back(std::to_string(extent));
  return join(parts, " x ");
}

Status check_alike(const Dataset& dataset, const job::Data& spec) {
  if (dataset.test.size == 0) return {};
  const Table& train = dataset.train;
  const Table& test = dataset.test;
  if (train.shape != test.shape) {
    return invalid(cat(spec.test_samples, " holds samples of ", shape_text(test), " and ",
                       spec.train_samples, " of ", shape_text(train), "; they must be alike"));
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

Result<Table> load_idx_part(const std::string& samples, const std::string& targets,
                            const job::Data& spec, std::int64_t limit, job::Loss loss) {
  if (samples.empty() || targets.empty()) {
    return invalid("IDX data needs a file of samples and one of targets; set both");
  }
  INSTEP_ASSIGN_OR_RETURN(Table table, load_idx(samples, targets));
  shorten(table, limit);
  table.scale = static_cast<float>(spec.scale);
  table.shift = static_cast<float>(spec.shift);
  INSTEP_RETURN_IF_ERROR(fit_to_loss(table, targets, spec.classes, loss));
  return table;
}

Result<Dataset> load_idx_set(const job::Data& spec, job::Loss loss) {
  Dataset out;
  INSTEP_ASSIGN_OR_RETURN(
      out.train, load_idx_part(spec.train_samples, spec.train_targets, spec, spec.limit, loss));
  if (!spec.test_samples.empty() || !spec.test_targets.empty()) {
    INSTEP_ASSIGN_OR_RETURN(
        out.test, load_idx_part(spec.test_samples, spec.test_targets, spec, spec.test_limit, loss));
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
      return load_idx_set(spec, loss);
    case job::DataFormat::kCsv:
      return load_csv_set(spec, loss);
    case job::DataFormat::kSynthetic:
      return load_synthetic_set(spec, loss, seed);
    case job::DataFormat::kNpy:
    case job::DataFormat::kCifar:
    case job::DataFormat::kText:
    case job::DataFormat::kNone:
      break;
  }
  return invalid("the job names no data; set data.format to idx, csv or synthetic");
}

}  // namespace

Result<Dataset> load(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  INSTEP_ASSIGN_OR_RETURN(Dataset out, load_any(spec, loss, seed));
  INSTEP_RETURN_IF_ERROR(check_alike(out, spec));
  unify_classes(out, spec.classes);
  return out;
}

Result<Table> load_inputs(const std::filesystem::path& file, const job::Data& spec,
                          std::uint64_t elements) {
  Table table;
  if (spec.format == job::DataFormat::kIdx) {
    INSTEP_ASSIGN_OR_RETURN(table, load_idx_samples(file));
    table.scale = static_cast<float>(spec.scale);
    table.shift = static_cast<float>(spec.shift);
  } else {
    INSTEP_ASSIGN_OR_RETURN(CsvFile read, read_csv_features(file, spec));
    table = std::move(read.table);
  }
  if (table.elements() != elements) {
    return invalid(cat(file.string(), " holds samples of ", table.elements(),
                       " values and the model takes ", elements));
  }
  return table;
}

}  // namespace instep::data
