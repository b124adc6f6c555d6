// Samples without targets, for `instep predict`.
#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

Result<Table> load_any_inputs(const std::filesystem::path& file, const job::Data& spec) {
  switch (spec.format) {
    case job::DataFormat::kIdx:
      return load_idx_samples(file);
    case job::DataFormat::kNpy:
      return load_npy_samples(file, spec.samples_key);
    case job::DataFormat::kCifar: {
      // Also arrays, since who predicts has rarely written records with labels.
      INSTEP_ASSIGN_OR_RETURN(const bool array, is_numpy(file));
      return array ? load_npy_samples(file, spec.samples_key) : load_cifar(file, true);
    }
    case job::DataFormat::kText:
      return load_text_inputs(file, spec.context);
    case job::DataFormat::kCsv:
    case job::DataFormat::kSynthetic:
    case job::DataFormat::kNone:
      break;
  }
  INSTEP_ASSIGN_OR_RETURN(CsvFile read, read_csv_features(file, spec));
  return std::move(read.table);
}

}  // namespace

Result<Table> load_inputs(const std::filesystem::path& file, const job::Data& spec,
                          std::uint64_t elements) {
  INSTEP_ASSIGN_OR_RETURN(Table table, load_any_inputs(file, spec));
  if (table.kind == Kind::kTokens) return table;
  table.scale = static_cast<float>(spec.scale);
  table.shift = static_cast<float>(spec.shift);
  if (elements != 0 && table.elements() != elements) {
    return invalid(cat(file.string(), " holds samples of ", table.elements(),
                       " values and the model takes ", elements));
  }
  if (spec.format == job::DataFormat::kCifar) {
    const std::vector<std::int64_t> image = {3, 32, 32};
    if (table.shape != image && table.shape != std::vector<std::int64_t>{3 * 32 * 32}) {
      return invalid(cat(file.string(), " holds samples of ", shape_text(table.shape),
                         "; images of 3 x 32 x 32 are due, plane after plane"));
    }
    table.shape = image;
  }
  return table;
}

}  // namespace instep::data
