#include "coord/hub_info.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "fabric/address.h"
#include "fabric/join_line.h"

namespace instep::coord {
namespace {

constexpr std::uint64_t kMostHubInfoBytes = 4096;

std::filesystem::path hub_info_path(const std::filesystem::path& run_dir) {
  return run_dir / "hub.json";
}

}  // namespace

std::filesystem::path token_book_path(const std::filesystem::path& run_dir) {
  return run_dir / "tokens.json";
}

Status write_hub_info(const std::filesystem::path& run_dir, const HubInfo& info) {
  const nlohmann::json out{{"address", info.address}, {"authority", info.authority}};
  return write_file_atomically(hub_info_path(run_dir), out.dump() + "\n");
}

Result<HubInfo> read_hub_info(const std::filesystem::path& run_dir) {
  const auto path = hub_info_path(run_dir);
  auto text = read_file(path, kMostHubInfoBytes);
  if (!text.ok() && text.error().kind == ErrorKind::kNotFound) {
    return Error{ErrorKind::kNotFound, cat("the run ", run_dir.string(),
                                           " is open to no other host; was it started with "
                                           "`instep coordinator`?")};
  }
  if (!text.ok()) return text.error();
  const auto in = nlohmann::json::parse(*text, nullptr, false);
  HubInfo out;
  for (const auto& [key, into] :
       {std::pair("address", &out.address), {"authority", &out.authority}}) {
    const bool there = in.is_object() && in.contains(key) && in[key].is_string();
    if (!there) return Error{ErrorKind::kCorrupt, cat(path.string(), " is damaged")};
    *into = in[key].get<std::string>();
  }
  return out;
}

Result<std::string> join_line(const HubInfo& info, const std::string& token) {
  INSTEP_ASSIGN_OR_RETURN(const fabric::Address address, fabric::parse_address(info.address, 0));
  std::string line = fabric::to_text({address.host, address.port, token, info.authority});
  // Read as who joins will read it, so that a line of no use is never handed out.
  INSTEP_RETURN_IF_ERROR(fabric::parse_join_line(line).status());
  return line;
}

}  // namespace instep::coord
