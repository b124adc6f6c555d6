// Codecs: the numbers that are left of a partial sum once it has been made small. A codec works on
// fixed nodes of the canonical tree and on blocks of the flat space, so what it makes of a round is
// the same whoever holds which shards (design, section 3 rule 4):
//
//   result = E((sum over the tree of E(node's sum)) * factor)
//
// where E is what a reader of the encoded values has. bf16 and int8 encode what goes to the owner
// and what comes back. Top-k encodes what goes there alone, adds to a node's sum before what it has
// kept back so far, and keeps what is not sent for the next round (error feedback: Seide et al.,
// Interspeech 2014; Karimireddy et al., ICML 2019).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reduce/kernels.h"
#include "reduce/tree.h"

namespace instep::reduce {

enum class Codec { kNone, kBf16, kInt8, kTopK };

// Rounded to the nearest of 8 significant bits, ties to even: off by at most 2^-8 of itself, while
// it is no smaller than 2^-126. Infinities stay, NaNs are made the one quiet NaN.
void through_bf16(float* values, std::size_t count);
// To the nearest of 255 multiples of s = (largest magnitude) / 127, ties to even: off by at most
// s / 2 and the rounding of floats (s * 2^-15). All zeros where the largest is below 2^-100, which
// is as much as they are off then; all NaN where one is not finite.
void through_int8(float* values, std::size_t count);
// The `keep` largest in magnitude of values + standing, the first among equals, exactly; the others
// become zero. `next` is what was not kept. With a value that is not finite all are NaN and nothing
// is kept back anew: `next` is `standing`. `count` is at most 1,024.
void through_top_k(float* values, const float* standing, float* next, std::size_t count,
                   std::size_t keep);

// A run of values as it travels: bf16 in 2 bytes each, int8 in a byte each behind the run's step,
// and as they are without a codec. What unpack() makes of pack() is just what through_*() makes of
// the values. Top-k has no such form: what it keeps back is its owner's.
std::size_t packed_bytes(Codec codec, std::size_t count);
void pack(Codec codec, const float* values, std::size_t count, std::byte* to);
void unpack(Codec codec, const std::byte* from, std::size_t count, float* to);
// The same without the bytes in between.
void through(Codec codec, float* values, std::size_t count);

struct Coding {
  Codec codec = Codec::kNone;
  std::vector<Node> nodes;  // that are encoded; they cover the tree
  double keep = 0;          // top-k: of each run of values, the part that is sent; one at least
  // Whether what is sent can be packed.
  bool packs() const { return codec == Codec::kBf16 || codec == Codec::kInt8; }
  // Nodes that keep something back.
  std::size_t residuals() const { return codec == Codec::kTopK ? nodes.size() : 0; }
};

// Of one node and a run of the flat space: what it has kept back, and what it keeps back next.
struct Residual {
  const float* standing = nullptr;
  float* next = nullptr;
};

// Adds up partial sums by way of a codec. Made once a view.
class CodedCombiner {
 public:
  // `parts`: the nodes of the partial sums; they cover the tree, each inside a node of the coding.
  // `relayed`: of whoever packs what comes out. Parts that are whole nodes of the coding have come
  // encoded (to encode again may change them), and the result is left for pack() to encode.
  CodedCombiner(std::uint32_t shards, const std::vector<Node>& parts, Coding coding,
                bool relayed = false);

  // As Combiner::run(), for at most 1,024 values of one block and tensor. A node whose parts are
  // all absent is absent and keeps what it has kept back. `residuals`: [coding's nodes] for top-k,
  // which may point past the block: they begin where `to` does.
  void run(const float* const* parts, float* to, std::size_t count, float factor,
           const Residual* residuals);

 private:
  struct Part {
    NodeSum of;
    bool encoded = false;  // the one that there is
  };
  Coding coding_;
  bool relayed_;
  std::vector<Part> inside_;  // [coding's nodes]
  Combiner top_;
  std::vector<float> sums_;                 // [coding's nodes][1,024]
  std::vector<const float*> rows_, coded_;  // scratch: a node's parts, and the nodes
};

}  // namespace instep::reduce
