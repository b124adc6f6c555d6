// Rows of comma-separated text (RFC 4180): quoted fields with "" for a quote, LF or CRLF, a byte
// order mark; empty lines are passed over.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace instep::data {

class CsvScanner {
 public:
  // `text` must outlive the fields, and is changed: doubled quotes are undone in place. `name` is
  // what errors call the file.
  CsvScanner(char* text, std::uint64_t size, std::string name);

  // The next row's fields, false at the end. They point into the text.
  Result<bool> next(std::vector<std::string_view>& fields);

  // The line on which the row of the last next() begins, from 1.
  std::uint64_t line() const { return row_line_; }
  const std::string& name() const { return name_; }
  // "FILE:LINE: what", for the row of the last next().
  Error error(std::string_view what) const;

 private:
  Result<std::string_view> quoted_field();

  char* at_;
  char* end_;
  std::string name_;
  std::uint64_t line_ = 1, row_line_ = 1;
};

// A field as an error shows it: quoted, cut short, unprintable bytes as '?'.
std::string show_field(std::string_view field);

}  // namespace instep::data
