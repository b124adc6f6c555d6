// TOML to entries. The one user of toml++.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "job/value.h"

namespace instep::job {

// Entries in file order, each with "name:line".
Result<std::vector<Entry>> read_toml(std::string_view text, const std::string& name,
                                     const std::filesystem::path& folder);
// One "key=value"; `where` is "--set" or "INSTEP_SET".
Result<std::vector<Entry>> read_set(std::string_view set, const std::string& where,
                                    const std::filesystem::path& folder);

}  // namespace instep::job
