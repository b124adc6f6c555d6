// What a command beside a run needs to write a join line for it: RUN/hub.json, written by the
// coordinator when it listens, and where its book of tokens lies. Nothing in it is a secret.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace instep::coord {

struct HubInfo {
  std::string address;    // host:port as in the join line
  std::string authority;  // fingerprint of the run's authority
};

Status write_hub_info(const std::filesystem::path& run_dir, const HubInfo& info);
// kNotFound for a run of one host.
Result<HubInfo> read_hub_info(const std::filesystem::path& run_dir);

// Of fabric/token_book.h.
std::filesystem::path token_book_path(const std::filesystem::path& run_dir);

// The line that shows this token to this hub.
Result<std::string> join_line(const HubInfo& info, const std::string& token);

}  // namespace instep::coord
