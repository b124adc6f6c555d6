// Small checkpoints for tests, whose content is a function of the round; and this program started
// once more as a process of its own, to write one and be killed at it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/checkpoint.h"
#include "store/safetensors.h"

namespace instep::store {

inline const std::vector<std::string> kTestFiles = {"model.safetensors", "state.safetensors"};

SafetensorsLayout test_layout();
// What every byte of a tensor is in that round.
std::byte test_byte(std::uint64_t round, std::size_t file, std::size_t tensor);
Manifest test_manifest(std::uint64_t round, double loss = 0);

// Begins, writes, syncs and commits; does nothing if the round is there.
Status save_test_checkpoint(const std::filesystem::path& run, std::uint64_t round, double loss = 0);
// Empty, or what differs from save_test_checkpoint's.
std::string check_test_checkpoint(const Found& found, std::uint64_t round);

// Runs this program with `environment` added; what it then does is told by INSTEP_STORE_TEST:
// "save RUN" saves round 2 and prunes to one; "part FOLDER K N" writes each N-th tensor from the
// K-th.
struct Ended {
  bool killed = false;
  int code = 0;  // 0, or 100 and the ErrorKind
};
inline constexpr int kErrorCode = 100;
// Starts all at once and waits for all.
std::vector<Ended> run_selves(const std::vector<std::map<std::string, std::string>>& environments);

}  // namespace instep::store
