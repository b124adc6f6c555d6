// Slurm's own notations: lists of nodes, and tasks by node.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace instep::cli {

// Of "node[02-04,07],login" "node02". The whole list is read: a malformed one is an Error.
Result<std::string> first_node(std::string_view list);

struct TaskCount {
  std::uint32_t here = 0;   // on the node that was asked for
  std::uint64_t total = 0;  // on all of them
  bool operator==(const TaskCount&) const = default;
};
// Of "2(x3),1", two on each of three nodes and one on the fourth, for the node with this number,
// from 0 on.
Result<TaskCount> count_tasks(std::string_view text, std::uint32_t node);

}  // namespace instep::cli
