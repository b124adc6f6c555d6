// Small dataset files for the tests of this folder.
#pragma once

#include <gtest/gtest.h>
#include <libdeflate.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/testing_folder.h"

namespace instep::data {

inline std::string gzip(const std::string& content) {
  libdeflate_compressor* packer = libdeflate_alloc_compressor(6);
  std::string out(libdeflate_gzip_compress_bound(packer, content.size()), '\0');
  out.resize(
      libdeflate_gzip_compress(packer, content.data(), content.size(), out.data(), out.size()));
  libdeflate_free_compressor(packer);
  return out;
}

inline std::string big_endian_text(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
  return out;
}

inline std::string idx_header(std::uint8_t type, const std::vector<std::uint32_t>& extents) {
  std::string out = {0, 0, static_cast<char>(type), static_cast<char>(extents.size())};
  for (const std::uint32_t extent : extents) out += big_endian_text(extent);
  return out;
}

// Values 0, 1, 2, … modulo `modulus`.
inline std::string counting_bytes(std::uint64_t count, std::uint64_t modulus = 256) {
  std::string out;
  for (std::uint64_t i = 0; i < count; ++i) out += static_cast<char>(i % modulus);
  return out;
}

inline std::string idx_images(std::uint32_t count, std::uint32_t rows, std::uint32_t columns) {
  return idx_header(8, {count, rows, columns}) +
         counting_bytes(std::uint64_t{count} * rows * columns);
}
inline std::string idx_labels(std::uint32_t count, std::uint32_t classes) {
  return idx_header(8, {count}) + counting_bytes(count, classes);
}

template <class R>
std::string message(const R& result) {
  return result.ok() ? "no error" : result.error().message;
}

#define EXPECT_ERROR(result, ...)                                 \
  do {                                                            \
    const std::string message_ = ::instep::data::message(result); \
    for (const std::string part_ : {__VA_ARGS__}) {               \
      EXPECT_NE(message_.find(part_), std::string::npos)          \
          << "'" << part_ << "' is not in: " << message_;         \
    }                                                             \
  } while (false)

}  // namespace instep::data
