#include "fabric/compression.h"

#include <time.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/time.h"
#include "fabric/frame.h"

namespace instep::fabric {
namespace {

// A head: bytes of the values, little endian, their width, and which planes are coded. Then the
// planes, each coded one behind its length.
constexpr std::size_t kHeadBytes = 6, kLengthBytes = 4;
constexpr std::uint32_t kTries = 8;       // before a plane is judged
constexpr std::uint64_t kTryAgain = 256;  // calls: the values may have changed
constexpr double kNewsPart = 0.25;        // of what was seen, in what is known
constexpr double kDecoding = 0.5;         // costs so much of what encoding does
// Less is not worth a plane's decoding.
constexpr double kLeastSaved = 0.02;

// Far from any repetition: with it zstd spends its time on counting bytes.
constexpr int kLevel = -100;

std::int64_t thread_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

void put_u32(std::byte* to, std::size_t value) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint32_t get_u32(const std::byte* from) {
  std::uint32_t out = 0;
  for (int i = 0; i < 4; ++i) out |= std::to_integer<std::uint32_t>(from[i]) << (8 * i);
  return out;
}

// A compiler makes vectors of these loops where the width is a constant.
template <std::size_t kWidth>
void cut(const std::byte* from, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t k = 0; k < kWidth; ++k) to[k * count + i] = from[i * kWidth + k];
  }
}

template <std::size_t kWidth>
void join(const std::byte* from, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t k = 0; k < kWidth; ++k) to[i * kWidth + k] = from[k * count + i];
  }
}

bool is_width(std::size_t width) { return width == 1 || width == 2 || width == 4; }

void learn(PlaneSeen& seen, double part, double ns_per_byte) {
  const bool first = seen.times++ == 0;
  seen.part += (first ? 1 : kNewsPart) * (part - seen.part);
  seen.ns_per_byte = first ? ns_per_byte : std::min(seen.ns_per_byte, ns_per_byte);
}

Error broken() { return {ErrorKind::kCorrupt, "compressed values that nobody has compressed"}; }

}  // namespace

bool is_worth(const PlaneSeen& seen, double bytes_s) {
  const double saved = (1 - seen.part) / bytes_s * static_cast<double>(kSecond);
  return seen.part < 1 - kLeastSaved && saved > (1 + kDecoding) * seen.ns_per_byte;
}

Compressor::Compressor(Compression when) : when_(when), zstd_(ZSTD_createCCtx(), ZSTD_freeCCtx) {
  INSTEP_CHECK(zstd_ != nullptr, "zstd has memory");
  // By default these levels leave bytes that are no repetition as they are. A zstd that does not
  // know this parameter any more gets one that codes them and is slower.
  constexpr int kHuffman = 1;
  const bool codes =
      ZSTD_isError(ZSTD_CCtx_setParameter(zstd_.get(), ZSTD_c_compressionLevel, kLevel)) == 0 &&
      ZSTD_isError(ZSTD_CCtx_setParameter(zstd_.get(), ZSTD_c_experimentalParam5, kHuffman)) == 0;
  if (!codes) ZSTD_CCtx_setParameter(zstd_.get(), ZSTD_c_compressionLevel, 1);
}

Compressor::~Compressor() = default;

bool Compressor::tries(const PlaneSeen& plane, double bytes_s) const {
  if (when_ != Compression::kAuto) return when_ == Compression::kAlways;
  return bytes_s > 0 && (again_ || plane.times < kTries || is_worth(plane, bytes_s));
}

// To `to`, where a plane that becomes no smaller would fit, too; nothing if it does not.
std::optional<std::size_t> Compressor::code(std::span<const std::byte> plane, double cut_ns,
                                            std::byte* to, PlaneSeen& seen) {
  const std::int64_t began = thread_ns();
  // zstd gives up where there is no room for what it makes.
  const std::size_t made =
      ZSTD_compress2(zstd_.get(), to, plane.size() - 1, plane.data(), plane.size());
  const bool smaller = ZSTD_isError(made) == 0;
  const auto bytes = static_cast<double>(plane.size());
  learn(seen, smaller ? static_cast<double>(made) / bytes : 1,
        (static_cast<double>(thread_ns() - began) + cut_ns) / bytes);
  return smaller ? std::optional(made) : std::nullopt;
}

std::optional<std::vector<std::byte>> Compressor::compress(std::span<const std::byte> values,
                                                           std::size_t width, double bytes_s) {
  if (values.size() < kLeastBytes || values.size() > kMaxPayload || !is_width(width) ||
      values.size() % width != 0) {
    return std::nullopt;
  }
  Planes& seen = seen_[width - 1];
  again_ = ++calls_ % kTryAgain == 0;
  std::array<bool, kMostWidth> tried{};
  for (std::size_t k = 0; k < width; ++k) tried[k] = tries(seen[k], bytes_s);
  if (std::find(tried.begin(), tried.end(), true) == tried.end()) return std::nullopt;

  const std::int64_t began = thread_ns();
  const std::span<const std::byte> planes = cut_up(values, width);
  const double cut_ns = static_cast<double>(thread_ns() - began) / static_cast<double>(width);

  const std::size_t count = values.size() / width;
  std::vector<std::byte> out(kHeadBytes + width * kLengthBytes + values.size());
  std::size_t end = kHeadBytes;
  unsigned coded = 0;
  for (std::size_t k = 0; k < width; ++k) {
    const std::span<const std::byte> plane = planes.subspan(k * count, count);
    const auto made =
        tried[k] ? code(plane, cut_ns, &out[end + kLengthBytes], seen[k]) : std::nullopt;
    if (made) {
      put_u32(&out[end], *made);
      end += kLengthBytes + *made;
      coded |= 1U << k;
    } else {
      std::memcpy(&out[end], plane.data(), count);
      end += count;
    }
  }
  if (coded == 0 || end >= values.size()) return std::nullopt;
  put_u32(out.data(), values.size());
  out[4] = static_cast<std::byte>(width);
  out[5] = static_cast<std::byte>(coded);
  out.resize(end);
  return out;
}

std::span<const std::byte> Compressor::cut_up(std::span<const std::byte> values,
                                              std::size_t width) {
  if (width == 1) return values;
  planes_.resize(values.size());
  const std::size_t count = values.size() / width;
  width == 2 ? cut<2>(values.data(), count, planes_.data())
             : cut<4>(values.data(), count, planes_.data());
  return planes_;
}

Decompressor::Decompressor() : zstd_(ZSTD_createDCtx(), ZSTD_freeDCtx) {
  INSTEP_CHECK(zstd_ != nullptr, "zstd has memory");
}

Result<std::uint32_t> Decompressor::size_of(std::span<const std::byte> compressed) {
  if (compressed.size() < kHeadBytes) return broken();
  const std::uint32_t size = get_u32(compressed.data());
  const auto width = std::to_integer<std::size_t>(compressed[4]);
  if (size == 0 || size > kMaxPayload || !is_width(width) || size % width != 0) return broken();
  return size;
}

Status Decompressor::decompress(std::span<const std::byte> compressed, std::span<std::byte> to) {
  INSTEP_ASSIGN_OR_RETURN(const std::uint32_t size, size_of(compressed));
  if (size != to.size()) return broken();
  const auto width = std::to_integer<std::size_t>(compressed[4]);
  const auto coded = std::to_integer<unsigned>(compressed[5]);
  const std::size_t count = size / width;
  std::byte* planes = to.data();
  if (width > 1) {
    planes_.resize(size);
    planes = planes_.data();
  }
  std::span<const std::byte> rest = compressed.subspan(kHeadBytes);
  const auto take = [&rest](std::size_t bytes) -> const std::byte* {
    if (rest.size() < bytes) return nullptr;
    const std::byte* const at = rest.data();
    rest = rest.subspan(bytes);
    return at;
  };
  for (std::size_t k = 0; k < width; ++k) {
    std::byte* const plane = planes + k * count;
    if ((coded >> k & 1) == 0) {
      const std::byte* const from = take(count);
      if (from == nullptr) return broken();
      std::memcpy(plane, from, count);
      continue;
    }
    const std::byte* const length = take(kLengthBytes);
    if (length == nullptr) return broken();
    const std::size_t bytes = get_u32(length);
    const std::byte* const from = take(bytes);
    if (from == nullptr || ZSTD_decompressDCtx(zstd_.get(), plane, count, from, bytes) != count) {
      return broken();
    }
  }
  if (!rest.empty() || coded >> width != 0) return broken();
  if (width == 2) join<2>(planes, count, to.data());
  if (width == 4) join<4>(planes, count, to.data());
  return {};
}

}  // namespace instep::fabric
