// `instep check`: what a job would do, without doing it.
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "coord/display.h"
#include "data/dataset.h"
#include "data/sampler.h"

namespace instep::cli {
namespace {

using Json = nlohmann::json;

void flatten(const Json& json, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& out) {
  for (const auto& item : json.items()) {
    const std::string key = prefix.empty() ? item.key() : prefix + "." + item.key();
    if (item.value().is_object()) {
      flatten(item.value(), key, out);
    } else {
      out.emplace_back(key, item.value().dump());
    }
  }
}

// Where a key's value came from. A list of tables is given as a whole or by its parts.
std::string origin(const std::vector<job::Given>& given, const std::string& key) {
  for (const job::Given& it : given) {
    if (it.key == key) return it.where;
  }
  for (const job::Given& it : given) {
    if (it.key.starts_with(key + ".") || it.key.starts_with(key + "[")) return it.where;
  }
  return "default";
}

std::string table(const job::Resolved& resolved) {
  std::vector<std::pair<std::string, std::string>> rows;
  flatten(Json::parse(job::to_json(resolved.job), nullptr, false), "", rows);
  std::size_t keys = 0;
  std::size_t values = 0;
  constexpr std::size_t kWidest = 40;
  for (const auto& [key, value] : rows) {
    keys = std::max(keys, key.size());
    values = std::max(values, std::min(kWidest, value.size()));
  }
  std::string out;
  for (const auto& [key, value] : rows) {
    const auto padding = [](std::size_t width, const std::string& text) {
      return std::string(width > text.size() ? width - text.size() : 0, ' ');
    };
    out += cat("  ", key, padding(keys, key), "  ", value, padding(values, value), "  (",
               origin(resolved.given, key), ")\n");
  }
  return out;
}

// What the model and the data say about each other.
Status fits(const job::Job& job, const data::Table& table) {
  if (table.kind == data::Kind::kTokens) return {};  // the job alone shows whether tokens fit
  if (job.model.kind != "mlp" || job.model.layers.empty()) return {};
  const auto inputs = static_cast<std::int64_t>(table.elements());
  if (job.model.layers.front() != inputs) {
    return Error{ErrorKind::kMismatch,
                 cat("model.layers begins with ", job.model.layers.front(), ", but a sample has ",
                     inputs, " values; both must be equal")};
  }
  const std::int64_t outputs =
      job.loss == job::Loss::kCrossEntropy ? table.class_count : table.target_width;
  if (outputs > job.model.layers.back() ||
      (job.loss != job::Loss::kCrossEntropy && outputs != job.model.layers.back())) {
    return Error{ErrorKind::kMismatch, cat("model.layers ends with ", job.model.layers.back(),
                                           ", but the targets need ", outputs, " outputs")};
  }
  return {};
}

std::string count(std::uint64_t value) { return coord::with_thousands(static_cast<double>(value)); }

// What one sample is: "784 values, 10 classes", "3 x 32 x 32 values", "128 tokens".
std::string sample_words(const data::Table& table) {
  if (table.kind == data::Kind::kTokens) {
    return cat(count(table.elements()), " tokens, each one of ", table.class_count);
  }
  return cat(table.shape.size() > 1 ? data::shape_text(table.shape) : count(table.elements()),
             " values",
             table.class_count > 0 ? cat(", ", table.class_count, " classes") : std::string());
}

Result<std::string> data_lines(const job::Job& job) {
  INSTEP_ASSIGN_OR_RETURN(const data::Dataset dataset, data::load(job.data, job.loss, job.seed));
  const data::Table& train = dataset.train;
  INSTEP_RETURN_IF_ERROR(fits(job, train));
  INSTEP_RETURN_IF_ERROR(data::check_split(dataset, job.split));
  const std::span<const std::int32_t> classes = train.class_span();
  const data::Parts parts = data::split(train.size, classes, job.split, job.seed);
  const data::Sampler sampler(parts.train, classes, job.partition,
                              static_cast<std::uint32_t>(job.shards),
                              static_cast<std::uint64_t>(job.batch), job.seed);
  const std::uint64_t rounds = sampler.rounds_per_epoch();
  const std::uint64_t test = dataset.test.size > 0 ? dataset.test.size : parts.test.size();
  return cat("data        ", count(sampler.size()), " training, ", count(parts.validation.size()),
             " validation and ", count(test), " test samples of ", sample_words(train),
             "\nrounds      ", count(rounds), " an epoch, ",
             count(rounds * static_cast<std::uint64_t>(job.epochs)), " in all\n");
}

}  // namespace

int check_command(const Options& options) {
  const auto resolved = job::load(options.target, options.sets, environment_sets());
  if (!resolved.ok()) return fail(resolved.error());
  const job::Job& job = resolved->job;
  std::string text =
      cat("job ", job.name, " (hash ", job::hash(job), ")\n", table(*resolved), "\n");
  if (const std::int64_t parameters = model_parameters(job); parameters > 0) {
    text += cat("model       ", job.model.kind, ", ",
                coord::with_thousands(static_cast<double>(parameters)), " parameters\n");
  }
  if (job.data.format != job::DataFormat::kNone) {
    const auto lines = data_lines(job);
    if (!lines.ok()) return fail(lines.error());
    text += *lines;
  }
  const std::int64_t least = job.batch / job.shards;
  const std::int64_t rest = job.batch % job.shards;
  text += cat("shards      ", job.shards, " of ", least, rest > 0 ? cat(" to ", least + 1) : "",
              " samples a round\n");
  const auto agents = agent_count(options, job.threads, job.shards);
  if (!agents.ok()) return fail(agents.error());
  text += cat("agents      ", *agents, options.agents ? "" : " by default on this machine", ", ",
              job.threads, job.threads == 1 ? " thread" : " threads", " each\n");
  if (const Memory memory = memory_of(job); memory.state > 0) {
    text += cat("memory      about ", human_bytes(memory.total(*agents)),
                " for the model: ", human_bytes(memory.state), " shared, ",
                human_bytes(memory.per_agent), " an agent\n");
  }
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  for (const std::string& warning : job_warnings(job, false)) log(LogLevel::kWarning, warning);
  if (least < job::kSmallShard) {
    log(LogLevel::kWarning, cat("shards of ", least,
                                " samples a round can cost more than 10%; a larger batch or "
                                "fewer shards make it faster"));
  }
  return 0;
}

}  // namespace instep::cli
