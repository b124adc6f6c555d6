#include "train/fit.h"

#include "base/text.h"

namespace instep::train {

Status check_fit(const job::Job& job, const data::Table& table) {
  const std::int64_t inputs = job.model.layers.front();
  const std::int64_t outputs = job.model.layers.back();
  if (static_cast<std::int64_t>(table.elements()) != inputs) {
    return invalid(cat("model.layers begins with ", inputs, " inputs and a sample of the data has ",
                       table.elements(), " values; make them equal"));
  }
  if (table.classes != nullptr && table.class_count > outputs) {
    return invalid(cat("model.layers ends with ", outputs, " outputs and the data has ",
                       table.class_count, " classes; make it at least that many"));
  }
  if (table.classes == nullptr && table.target_width != outputs) {
    return invalid(cat("model.layers ends with ", outputs, " outputs and a target of the data has ",
                       table.target_width, " values; make them equal"));
  }
  return {};
}

}  // namespace instep::train
