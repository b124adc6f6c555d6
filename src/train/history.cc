// What a Trainer prints: histories, metrics, a model's layers.
#include <torch/nn/module.h>

#include <algorithm>
#include <limits>
#include <ostream>
#include <set>

#include "base/text.h"
#include "train/trainer_impl.h"

namespace instep {
namespace {

constexpr int kDigits = 4;

// Rows of cells, each column as wide as it must be; the columns from `right` on are numbers.
std::string table(const std::vector<std::vector<std::string>>& rows, std::size_t right) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      line += cat(i == 0 ? "" : "  ", i >= right ? space + row[i] : row[i] + space);
    }
    out += cat(line.substr(0, line.find_last_not_of(' ') + 1), "\n");
  }
  return out;
}

// "torch::nn::LinearImpl" is known as Linear.
std::string layer_name(std::string name) {
  constexpr std::string_view kImpl = "Impl";
  const auto cut = name.rfind("::");
  if (cut != std::string::npos) name.erase(0, cut + 2);
  if (name.size() > kImpl.size() && name.ends_with(kImpl)) name.resize(name.size() - kImpl.size());
  return name;
}

}  // namespace

std::vector<double> History::of(const std::string& name) const {
  std::vector<double> out;
  for (const Metrics& epoch : epochs) {
    const auto found = epoch.find(name);
    out.push_back(found == epoch.end() ? std::numeric_limits<double>::quiet_NaN() : found->second);
  }
  return out;
}

std::string to_text(const Metrics& metrics) {
  std::vector<std::string> words;
  const auto loss = metrics.find("loss");
  if (loss != metrics.end()) words.push_back(cat("loss ", number(loss->second, kDigits)));
  for (const auto& [name, value] : metrics) {
    if (name != "loss") words.push_back(cat(name, " ", number(value, kDigits)));
  }
  return join(words, ", ");
}

std::string to_text(const History& history) {
  std::set<std::string> names;
  for (const Metrics& epoch : history.epochs) {
    for (const auto& [name, value] : epoch) names.insert(name);
  }
  std::vector<std::string> columns;
  for (const char* first : {"loss", "val_loss"}) {
    if (names.erase(first) > 0) columns.emplace_back(first);
  }
  columns.insert(columns.end(), names.begin(), names.end());
  std::vector<std::vector<std::string>> rows = {{"epoch"}};
  rows[0].insert(rows[0].end(), columns.begin(), columns.end());
  for (std::size_t i = 0; i < history.epochs.size(); ++i) {
    rows.push_back({cat(i + 1)});
    for (const std::string& name : columns) {
      const auto found = history.epochs[i].find(name);
      rows.back().push_back(found == history.epochs[i].end() ? "-"
                                                             : number(found->second, kDigits));
    }
  }
  return table(rows, 0) + (history.stopped.empty() ? "" : cat("stopped: ", history.stopped, "\n"));
}

std::ostream& operator<<(std::ostream& out, const History& history) {
  return out << to_text(history);
}

std::string train::describe(const torch::nn::Module& module) {
  std::vector<std::vector<std::string>> rows = {{"layer", "type", "parameters"}};
  for (const auto& item : module.named_modules()) {
    std::int64_t own = 0;
    for (const at::Tensor& parameter : item.value()->parameters(false)) own += parameter.numel();
    if (own == 0 && !item.value()->children().empty()) continue;
    rows.push_back(
        {item.key().empty() ? "model" : item.key(), layer_name(item.value()->name()), cat(own)});
  }
  std::int64_t all = 0, trained = 0;
  std::set<const void*> seen;  // a weight that two layers share counts once
  for (const at::Tensor& parameter : module.parameters()) {
    if (!seen.insert(parameter.unsafeGetTensorImpl()).second) continue;
    all += parameter.numel();
    trained += parameter.requires_grad() ? parameter.numel() : 0;
  }
  return cat(table(rows, 2), "total ", all, " parameters, ", trained, " of them trained\n");
}

}  // namespace instep
