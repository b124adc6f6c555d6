#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/text.h"
#include "job/apply.h"
#include "job/keys.h"

namespace instep::job {
namespace {

using Json = nlohmann::json;  // objects in the order of their keys, hence canonical

constexpr int kMaxDepth = 8;

Json json_of(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kBool:
      return value.truth;
    case Value::Kind::kInteger:
      return value.integer;
    case Value::Kind::kNumber:
      return value.number;
    case Value::Kind::kText:
      return value.text;
    case Value::Kind::kList: {
      Json list = Json::array();
      for (const Value& item : value.items) list.push_back(json_of(item));
      return list;
    }
    default:
      return nullptr;
  }
}

// The object's place of a dotted key below `root`.
Json& slot(Json& root, std::string_view key) {
  Json* at = &root;
  for (auto dot = key.find('.'); dot != std::string_view::npos; dot = key.find('.')) {
    at = &(*at)[std::string(key.substr(0, dot))];
    key.remove_prefix(dot + 1);
  }
  return (*at)[std::string(key)];
}

Json json_of(const Job& given) {
  Job job = given;
  Json root = Json::object();
  Json& groups = slot(root, kGroupKey) = Json::array();
  for (std::size_t i = 0; i < job.optimizer.groups.size(); ++i) groups.push_back(Json::object());
  for (const Key& key : keys()) {
    if (!is_group_key(key)) {
      slot(root, key.name) = json_of(value_of(key.at(job, 0)));
      continue;
    }
    const std::string last(key.name.substr(key.name.rfind('.') + 1));
    for (std::size_t i = 0; i < job.optimizer.groups.size(); ++i) {
      groups[i][last] = json_of(value_of(key.at(job, i)));
    }
  }
  return root;
}

// Texts that validate() would refuse must not throw here.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Value value_of(const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::of(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::of(json.get<std::int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() >> 63 != 0) return Value::of(json.get<double>());
      return Value::of(json.get<std::int64_t>());
    case Json::value_t::number_float:
      return Value::of(json.get<double>());
    case Json::value_t::string:
      return Value::of(json.get<std::string>());
    case Json::value_t::object:
      return Value::of(Value::Kind::kTable);
    case Json::value_t::array: {
      Value list = Value::of(Value::Kind::kList);
      for (const Json& item : json) list.items.push_back(value_of(item));
      return list;
    }
    default:
      return Value::of(Value::Kind::kNull);
  }
}

bool all_objects(const Json& json) {
  for (const Json& item : json) {
    if (!item.is_object()) return false;
  }
  return !json.empty();
}

// Depth is bounded by the parse below.
void flatten(const Json& json, const std::string& key, std::vector<Entry>& entries) {
  if (json.is_object() && (key.empty() || !json.empty())) {
    for (const auto& [name, child] : json.items()) {
      const bool plain = name.find_first_of(".[]\"") == std::string::npos && is_clean_text(name) &&
                         !name.empty() && name.size() <= 64;
      flatten(child, cat(key, key.empty() ? "" : ".", plain ? name : in_quotes(name)), entries);
    }
  } else if (json.is_array() && all_objects(json)) {
    entries.push_back({key, "job JSON", Value::of(Value::Kind::kTables), "", {}});
    for (std::size_t i = 0; i < json.size(); ++i) flatten(json[i], cat(key, "[", i, "]"), entries);
  } else {
    entries.push_back({key, "job JSON", value_of(json), "", {}});
  }
}

// Parses with bounded depth and without repeated keys, of which the library would keep the last.
Result<Json> parse_strictly(std::string_view text) {
  if (text.size() > kMaxJobBytes) {
    return invalid(cat("job JSON: found ", text.size(), " bytes; allowed: at most ", kMaxJobBytes));
  }
  std::string problem;
  std::vector<std::set<std::string>> open;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) problem = "nested too deep";
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key &&
        !open.back().insert(parsed.get<std::string>()).second) {
      problem = cat("the key ", in_quotes(parsed.get<std::string>()), " stands twice");
    }
    return problem.empty();
  };
  Json json = Json::parse(text, watch, false);
  if (!problem.empty()) return invalid(cat("job JSON: ", problem));
  if (!json.is_object()) return invalid("job JSON: found no JSON object; it is cut off or damaged");
  return json;
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

}  // namespace

std::string to_json(const Job& job) { return dump(json_of(job)); }

Result<Job> from_json(std::string_view text) {
  INSTEP_ASSIGN_OR_RETURN(const Json json, parse_strictly(text));
  std::vector<Entry> entries;
  flatten(json, "", entries);
  Job job;
  std::vector<Given> given;
  INSTEP_RETURN_IF_ERROR(apply(entries, job, given));
  if (const auto fault = find_fault(job)) {
    return invalid(cat("job JSON: ", fault->keys.front(), ": ", fault->message));
  }
  return job;
}

std::string hash(const Job& given) {
  Job job = given;
  for (const Key& key : keys()) {
    if (key.limits.text != Limits::Text::kPath) continue;
    auto* path = std::get<std::string*>(key.at(job, 0));
    *path = file_name(*path);
  }
  Json json = json_of(job);
  for (const char* key : {"name", "checkpoint", "policy", "stop", "faults", "links", "debug",
                          "evaluate_each_epoch", "metrics", "top_k"}) {
    json.erase(key);
  }
  if (job.codec.kind == CodecKind::kNone) json.erase("codec");
  // A plateau's learning rate follows what is measured.
  if (job.schedule.kind == ScheduleKind::kPlateau) json["judged"] = {job.stop.metric, job.top_k};
  // The cosine's length is the run's.
  if (job.schedule.kind != ScheduleKind::kCosine) json.erase("epochs");
  return sha256_hex(dump(json));
}

}  // namespace instep::job
