#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "store/checkpoint.h"
#include "store/safetensors.h"

namespace instep::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string digest(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

Result<Json> describe_file(const std::filesystem::path& folder, const store::Manifest::File& file) {
  Json out;
  out["name"] = file.name;
  out["bytes"] = file.bytes;
  out["sha256"] = file.sha256;
  if (!file.name.ends_with(".safetensors")) return out;
  INSTEP_ASSIGN_OR_RETURN(const auto tensors, store::SafetensorsFile::open(folder / file.name));
  Json list = Json::array();
  for (const store::TensorInfo& tensor : tensors.tensors()) {
    list.push_back({{"name", tensor.name},
                    {"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes},
                    {"sha256", digest(tensors.bytes(tensor))}});
  }
  out["tensors"] = list;
  return out;
}

Result<Json> describe(const store::Found& found) {
  const store::Manifest& manifest = found.manifest;
  Json out;
  out["checkpoint"] = found.folder.string();
  out["format"] = manifest.format;
  out["round"] = manifest.round;
  out["data_epoch"] = manifest.data_epoch;
  out["model"] = manifest.model;
  out["job"] = Json::parse(manifest.job_json, nullptr, false);
  out["job_hash"] = manifest.job_hash;
  out["parameters_sha256"] = manifest.parameters_sha256;
  out["state_sha256"] = manifest.state_sha256;
  out["metrics"] = manifest.metrics;
  out["warnings"] = found.warnings;
  out["files"] = Json::array();
  for (const store::Manifest::File& file : manifest.files) {
    INSTEP_ASSIGN_OR_RETURN(Json described, describe_file(found.folder, file));
    out["files"].push_back(std::move(described));
  }
  return out;
}

void print(const store::Found& found, const Json& described) {
  const store::Manifest& manifest = found.manifest;
  std::string text = cat("checkpoint  ", found.folder.string(), "\nround       ", manifest.round,
                         ", epoch ", number(manifest.data_epoch, 4), "\nmodel       ",
                         manifest.model, "\njob hash    ", manifest.job_hash, "\nparameters  ",
                         manifest.parameters_sha256, "\nstate       ", manifest.state_sha256, "\n");
  for (const auto& [name, value] : manifest.metrics) {
    text += cat("metric      ", name, " ", number(value, 6), "\n");
  }
  for (const Json& file : described["files"]) {
    text +=
        cat("\n", file["name"].get<std::string>(), "  ", human_bytes(file["bytes"].get<double>()),
            "  sha256 ", file["sha256"].get<std::string>(), "\n");
    if (!file.contains("tensors")) continue;
    for (const Json& tensor : file["tensors"]) {
      text += cat("  ", tensor["name"].get<std::string>(), "  ", tensor["dtype"].get<std::string>(),
                  " ", tensor["shape"].dump(), "  sha256 ",
                  tensor["sha256"].get<std::string>().substr(0, 16), "…\n");
    }
  }
  std::fputs(text.c_str(), stdout);
}

}  // namespace

int inspect_command(const Options& options) {
  const auto folder = find_checkpoint(options.target);
  if (!folder.ok()) return fail(folder.error());
  const auto found = store::open_checkpoint(*folder);
  if (!found.ok()) return fail(found.error());
  for (const std::string& warning : found->warnings) log(LogLevel::kWarning, warning);
  const auto described = describe(*found);
  if (!described.ok()) return fail(described.error());
  if (options.json) {
    std::puts(described->dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    print(*found, *described);
  }
  return 0;
}

}  // namespace instep::cli
