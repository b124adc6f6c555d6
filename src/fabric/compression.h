// Floating-point values made smaller without loss, for lines that are slower than a processor: what
// comes out is what went in, bit for bit, so only a line's time changes.
//
// Values of gradients differ little in size, so the bytes that hold their exponents say little,
// while those of the mantissas are noise. So values are cut into planes, the first bytes of all,
// then the second bytes, and so on (the "shuffle" of HDF5 and Blosc: F. Alted, "Why modern CPUs are
// starving and what can be done about it", Computing in Science & Engineering 12, 2010), and each
// plane is coded by itself, or stays as it is where that gains nothing: by zstd, which looks for no
// repetitions here, only for bytes that come more often than others.
//
// Neither is bound to a thread; each is for one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace instep::fabric {

enum class Compression {
  kAuto,  // of each plane, where it saves a line more time than it costs processors
  kAlways,
  kNever,
};

// What a plane is like.
struct PlaneSeen {
  std::uint32_t times = 0;  // that it was coded
  double part = 1;          // that is left of it, of late
  // Of a processor, to code it: the least that was seen, since what else a processor does at the
  // same time is often seen, too.
  double ns_per_byte = 0;
};

// Whether a line that carries so many bytes a second gains more time by it than the processors of
// both ends lose.
bool is_worth(const PlaneSeen& seen, double bytes_s);

class Compressor {
 public:
  static constexpr std::size_t kMostWidth = 4;
  static constexpr std::size_t kLeastBytes = 4096;  // of fewer nothing is made

  explicit Compressor(Compression when);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // What stands for `values`, each of `width` bytes (1, 2 or 4), on a line that carries so many
  // bytes a second (0: not known yet). Nothing where it is better sent as it is.
  std::optional<std::vector<std::byte>> compress(std::span<const std::byte> values,
                                                 std::size_t width, double bytes_s);

 private:
  using Planes = std::array<PlaneSeen, kMostWidth>;
  bool tries(const PlaneSeen& plane, double bytes_s) const;
  std::span<const std::byte> cut_up(std::span<const std::byte> values, std::size_t width);
  std::optional<std::size_t> code(std::span<const std::byte> plane, double cut_ns, std::byte* to,
                                  PlaneSeen& seen);

  const Compression when_;
  std::array<Planes, kMostWidth> seen_;  // [width - 1]
  std::uint64_t calls_ = 0;
  bool again_ = false;             // the call under way tries all planes
  std::vector<std::byte> planes_;  // scratch
  std::unique_ptr<ZSTD_CCtx_s, std::size_t (*)(ZSTD_CCtx_s*)> zstd_;
};

class Decompressor {
 public:
  Decompressor();

  // How many bytes of values it stands for, as it says; kCorrupt if it says nothing that can be.
  static Result<std::uint32_t> size_of(std::span<const std::byte> compressed);
  // Exactly so many to `to`. kCorrupt: no Compressor has made it; what lies there then is
  // undefined.
  Status decompress(std::span<const std::byte> compressed, std::span<std::byte> to);

 private:
  std::vector<std::byte> planes_;  // scratch
  std::unique_ptr<ZSTD_DCtx_s, std::size_t (*)(ZSTD_DCtx_s*)> zstd_;
};

}  // namespace instep::fabric
