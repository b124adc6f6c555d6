#include "round/coding.h"

namespace instep::round {

reduce::Coding coding_of(const job::Job& job) {
  reduce::Coding out;
  switch (job.codec.kind) {
    case job::CodecKind::kNone:
      return out;
    case job::CodecKind::kBf16:
      out.codec = reduce::Codec::kBf16;
      break;
    case job::CodecKind::kInt8:
      out.codec = reduce::Codec::kInt8;
      break;
    case job::CodecKind::kTopK:
      out.codec = reduce::Codec::kTopK;
      break;
  }
  out.nodes = reduce::cut_tree(static_cast<std::uint32_t>(job.shards),
                               static_cast<std::uint32_t>(job::codec_nodes(job)));
  out.keep = job.codec.keep;
  return out;
}

std::uint32_t full_samples(const job::Job& job) {
  return static_cast<std::uint32_t>((job.batch + job.shards - 1) / job.shards);
}

}  // namespace instep::round
