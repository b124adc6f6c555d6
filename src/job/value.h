// What a job file or a JSON text holds, before it is known whether it means anything: a flat list
// of entries, so that files, sets and JSON are judged by the same code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep::job {

// Of one text in a job, and of one set.
inline constexpr std::size_t kMaxTextBytes = 4096;

struct Value {
  // kTables: a list of tables, whose entries follow. kTable: an empty one. kOther: dates and times.
  enum class Kind { kNull, kBool, kInteger, kNumber, kText, kList, kTable, kTables, kOther };
  Kind kind = Kind::kNull;
  bool truth = false;
  std::int64_t integer = 0;
  double number = 0;
  std::string text{};
  std::vector<Value> items{};

  static Value of(bool truth) { return {.kind = Kind::kBool, .truth = truth}; }
  static Value of(std::int64_t integer) { return {.kind = Kind::kInteger, .integer = integer}; }
  static Value of(double number) { return {.kind = Kind::kNumber, .number = number}; }
  static Value of(std::string text) { return {.kind = Kind::kText, .text = std::move(text)}; }
  static Value of(Kind kind) { return {.kind = kind}; }
};

struct Entry {
  std::string key;    // dotted, "optimizer.group[1].lr"
  std::string where;  // "mnist.toml:12", "--set"
  Value value;
  std::string bare;              // a set's value as it was typed, if without quotes
  std::filesystem::path folder;  // that a relative path starts from; empty: it stays as it is
};

// What was found, for errors: `the text "fast"`, `the integer 7`, "a table".
std::string describe(const Value& value);
// In quotes, cut to what a line can bear, control characters and stray bytes as '?'.
std::string in_quotes(std::string_view text);
// The shortest text that reads back as the same double: "0.001", "1e+12".
std::string shortest(double value);
// Valid UTF-8 without control characters.
bool is_clean_text(std::string_view text);

}  // namespace instep::job
