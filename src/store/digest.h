// The digest of named tensors: "parameters_sha256" and "state_sha256" of reports and manifests. The
// same for live tensors and for those of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace instep::store {

struct TensorBytes {
  std::string name, dtype;  // dtype as in safetensors: "F32", …
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// SHA-256 over name, dtype, shape and bytes of each, in name order.
std::string digest(std::vector<TensorBytes> tensors);

// Of a whole training state: the parameters' digest, the optimizer's, and where the run stands
// (rounds done, updates applied, seed: what random streams and positions follow from).
std::string state_digest(const std::string& parameters, const std::string& optimizer,
                         std::uint64_t rounds, std::uint64_t updates, std::uint64_t seed);

}  // namespace instep::store
