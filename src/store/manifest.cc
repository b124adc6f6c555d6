#include <cmath>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "store/checkpoint.h"
#include "store/folder.h"

namespace instep::store {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 8;
constexpr std::string_view kChecksumBegin = ",\n  \"checksum\": \"";
constexpr std::string_view kChecksumEnd = "\"\n}\n";
constexpr std::size_t kDigestLength = 64;

// JSON has no words for them, and a run that stopped at a NaN loss saves one.
Json number_or_word(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double from_number_or_word(const Json& json) {
  if (!json.is_string()) return json.get<double>();
  const std::string word = json.get<std::string>();
  const double infinity = std::numeric_limits<double>::infinity();
  if (word == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (word == "inf") return infinity;
  if (word == "-inf") return -infinity;
  throw std::invalid_argument(cat("'", word, "' is no number"));
}

bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// Compares bytes, not values: what a parser would forgive is damage all the same.
bool checksum_holds(std::string_view text) {
  const std::size_t tail = kChecksumBegin.size() + kDigestLength + kChecksumEnd.size();
  if (text.size() < tail || !text.ends_with(kChecksumEnd)) return false;
  const std::string_view content = text.substr(0, text.size() - tail);
  const std::string_view rest = text.substr(content.size());
  return rest.starts_with(kChecksumBegin) &&
         rest.substr(kChecksumBegin.size(), kDigestLength) == sha256_hex(content);
}

// A negative count would convert in silence.
std::uint64_t count(const Json& json) {
  if (!json.is_number_unsigned()) throw std::invalid_argument("a count is no whole number");
  return json.get<std::uint64_t>();
}

Manifest from_fields(const Json& json) {
  Manifest manifest;
  manifest.round = count(json.at("round"));
  manifest.data_epoch = from_number_or_word(json.at("data_epoch"));
  manifest.model = json.at("model").get<std::string>();
  manifest.job_hash = json.at("job_hash").get<std::string>();
  manifest.job_json = json.at("job").get<std::string>();
  manifest.parameters_sha256 = json.at("parameters_sha256").get<std::string>();
  manifest.state_sha256 = json.at("state_sha256").get<std::string>();
  for (const auto& [name, value] : json.at("metrics").items()) {
    manifest.metrics[name] = from_number_or_word(value);
  }
  std::set<std::string> names;
  for (const Json& entry : json.at("files")) {
    Manifest::File& file = manifest.files.emplace_back();
    file.name = entry.at("name").get<std::string>();
    file.bytes = count(entry.at("bytes"));
    file.sha256 = entry.at("sha256").get<std::string>();
    if (!is_file_name(file.name)) throw std::invalid_argument("a file has a name with a path");
    if (!names.insert(file.name).second) throw std::invalid_argument("a file is there twice");
  }
  return manifest;
}

}  // namespace

std::string to_json(const Manifest& manifest) {
  Json json;
  json["format"] = manifest.format;
  json["round"] = manifest.round;
  json["data_epoch"] = number_or_word(manifest.data_epoch);
  json["model"] = manifest.model;
  json["job_hash"] = manifest.job_hash;
  json["parameters_sha256"] = manifest.parameters_sha256;
  json["state_sha256"] = manifest.state_sha256;
  json["metrics"] = Json::object();
  for (const auto& [name, value] : manifest.metrics) json["metrics"][name] = number_or_word(value);
  json["files"] = Json::array();
  for (const Manifest::File& file : manifest.files) {
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  // As text: the hash is over its bytes, and they must come back as they were.
  json["job"] = manifest.job_json;
  std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  text.resize(text.size() - 2);  // the last "\n}"
  const std::string digest = sha256_hex(text);
  text.append(kChecksumBegin).append(digest).append(kChecksumEnd);
  return text;
}

Result<Manifest> manifest_from_json(std::string_view text, const std::filesystem::path& where) {
  const auto corrupt = [&where](std::string_view what) {
    return Error{ErrorKind::kCorrupt, cat(where.string(), " is damaged: ", what)};
  };
  if (too_deep(text)) return corrupt(cat("it nests deeper than ", kMaxDepth));
  try {
    const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
    if (!json.is_object()) return corrupt("it is no JSON object");
    const auto format = json.find("format");
    if (format == json.end() || !format->is_number_integer()) return corrupt("it has no format");
    // Before the checksum: another version may have none, or another one.
    if (*format != kCheckpointFormat) {
      return Error{ErrorKind::kMismatch, cat(where.string(), " has checkpoint format ",
                                             format->dump(), ", this instep reads format ",
                                             kCheckpointFormat, "; use the instep that wrote it")};
    }
    if (!checksum_holds(text)) return corrupt("its content does not match its checksum");
    return from_fields(json);
  } catch (const std::exception& error) {
    return corrupt(std::string_view(error.what()).substr(0, 200));
  }
}

}  // namespace instep::store
