// NPY files and NPZ archives for the tests of this folder.
#pragma once

#include <zip.h>

#include <bit>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "data/test_files.h"

namespace instep::data {

// A file of version 1 with this header; what numpy would write as `descr`, `fortran`, `shape`.
inline std::string npy_of(const std::string& header, const std::string& values, int version = 1) {
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  for (int byte = 0; byte < (version == 1 ? 2 : 4); ++byte) {
    out += static_cast<char>(header.size() >> (8 * byte) & 0xff);
  }
  return out + header + values;
}
inline std::string npy_header(const std::string& type, const std::string& shape) {
  const std::string text =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  // As numpy does: the values begin at a multiple of 64.
  return text + std::string(63 - (10 + text.size()) % 64, ' ') + "\n";
}
inline std::string npy(const std::string& type, const std::string& shape, const std::string& values,
                       int version = 1) {
  return npy_of(npy_header(type, shape), values, version);
}

template <class T>
std::string raw(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

// An archive of these files, deflated or stored.
inline std::string npz(const std::string& path, const std::map<std::string, std::string>& files,
                       bool deflated) {
  std::filesystem::remove(path);
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_EXCL, &code);
  for (const auto& [name, content] : files) {
    zip_source_t* source = zip_source_buffer(archive, content.data(), content.size(), 0);
    const zip_int64_t at = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(at),
                             deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  zip_close(archive);
  return path;
}

}  // namespace instep::data
