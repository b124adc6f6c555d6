// The hosts of a run as people list them: a line a host in a file, as Open MPI's, MPICH's and
// Horovod's host files have them, or NAME[:SLOTS],… on the command line.
//
//   node1                      as many agents as fit there
//   node2 slots=4              four; also node2:4, [fd00::2]:4
//   node3 slots=8 max_slots=4  four
//   # a comment
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace instep::cli {

struct ListedHost {
  std::string name;                    // a name or an address (IPv6 without brackets), or USER@…
  std::optional<std::uint32_t> slots;  // agents there
  bool operator==(const ListedHost&) const = default;
};

// At least one host, none of them twice. `place` is what errors begin with: the file's name, which
// they add the line to.
Result<std::vector<ListedHost>> parse_host_file(std::string_view text, const std::string& place);
// Of --hosts.
Result<std::vector<ListedHost>> parse_host_words(std::string_view text);

}  // namespace instep::cli
